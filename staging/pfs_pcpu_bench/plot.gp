# Draws the rates on one CPU that `pfs_pcpu_bench --data FILE` has written:
#   gnuplot -e "data='FILE'; out='NAME'" plot.gp
# writes NAME.png and NAME.svg: a panel for each program, PacketFS beside its peers.
set datafile separator "\t"
set style data histograms
set style histogram clustered gap 1
set style fill solid noborder
set boxwidth 0.9
set grid ytics lt 1 lc rgb "#dddddd"
set border 3
set tics nomirror
set xtics rotate by -35 scale 0 font ",10"
set yrange [0:*]
set ylabel "GB/s"
set key outside top center horizontal samplen 1 font ",10"
blue = "#0072b2"; light = "#56b4e9"; orange = "#e69f00"; grey = "#999999"
# Lines of one work and contender, with short names of the shapes.
pick(work, by) = sprintf("< awk -F '\\t' -v OFS='\\t' '$2 == 1 && $3 == \"%s\" && $4 == \"%s\" \
    {sub(/64 x 64\\.\\.\\.319 B in /, \"tables, \", $1); sub(/ x /, \" × \", $1); print}' %s", work, by, data)
three = "xor:255,add:7,counteq:0"
draw = "set multiplot layout 3,2 title 'pCPU kernels on one CPU (10⁹ payload bytes a second; median)' font ',15'; \
    set title 'crc32c'; \
    plot pick('crc32c', 'packetfs') using ($5/1000):xtic(1) title 'PacketFS' lc rgb blue, \
        pick('crc32c', 'isa-l') using ($5/1000) title 'ISA-L, one call each' lc rgb orange; \
    set title 'fnv'; \
    plot pick('fnv', 'packetfs') using ($5/1000):xtic(1) title 'PacketFS' lc rgb blue, \
        pick('fnv', 'c') using ($5/1000) title 'C loop, -O3' lc rgb orange; \
    set title 'counteq:0'; \
    plot pick('counteq:0', 'packetfs') using ($5/1000):xtic(1) title 'PacketFS' lc rgb blue, \
        pick('counteq:0', 'c') using ($5/1000) title 'C loop, -O3' lc rgb orange, \
        pick('read', 'limit') using ($5/1000) title 'reading alone' lc rgb grey; \
    set title 'xor:90'; \
    plot pick('xor:90', 'packetfs') using ($5/1000):xtic(1) title 'PacketFS' lc rgb blue, \
        pick('xor:90', 'c') using ($5/1000) title 'C loop, -O3' lc rgb orange, \
        pick('modify', 'limit') using ($5/1000) title 'reading and writing alone' lc rgb grey; \
    set title three; \
    plot pick(three, 'packetfs') using ($5/1000):xtic(1) title 'PacketFS, one pass' lc rgb blue, \
        pick(three, 'packetfs-passes') using ($5/1000) title 'PacketFS, three passes' lc rgb light, \
        pick(three, 'c') using ($5/1000) title 'C loops, -O3' lc rgb orange; \
    set title 'xor:90,crc32c'; \
    plot pick('xor:90,crc32c', 'packetfs') using ($5/1000):xtic(1) title 'both in one pass' lc rgb blue, \
        pick('xor:90', 'packetfs') using ($5/1000) title 'xor:90 alone' lc rgb light, \
        pick('crc32c', 'packetfs') using ($5/1000) title 'crc32c alone' lc rgb grey; \
    unset multiplot"
set terminal pngcairo size 1300,1200 font "DejaVu Sans,11" background "white"
set output out.".png"
eval draw
set terminal svg size 1300,1200 font "DejaVu Sans,11" background "white"
set output out.".svg"
eval draw

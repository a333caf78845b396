# Draws the rates of pfs_pcpu_bench --data FILE: gnuplot -e "data='FILE'; out='NAME'" plot.gp writes NAME.png and NAME.svg.
set datafile separator "\t"
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.8 noborder
set key outside top center horizontal
set ylabel "GB/s, one CPU"
set grid ytics
set xtics rotate by -30
pick(work, by) = sprintf("< awk -F '\\t' '$2 == 1 && $3 == \"%s\" && $4 == \"%s\"' %s", work, by, data)
draw = "plot pick('crc32c','packetfs') using ($5/1000):xtic(1) title 'crc32c PacketFS', \
    pick('crc32c','isa-l') using ($5/1000) title 'crc32c ISA-L', \
    pick('xor:90','packetfs') using ($5/1000) title 'xor PacketFS', \
    pick('xor:90','c') using ($5/1000) title 'xor C', \
    pick('counteq:0','packetfs') using ($5/1000) title 'counteq PacketFS', \
    pick('counteq:0','c') using ($5/1000) title 'counteq C', \
    pick('xor:255,add:7,counteq:0','packetfs') using ($5/1000) title 'three operations PacketFS', \
    pick('xor:255,add:7,counteq:0','c') using ($5/1000) title 'three operations C'"
set terminal pngcairo size 1400,700
set output out.".png"
eval draw
set terminal svg size 1400,700
set output out.".svg"
eval draw

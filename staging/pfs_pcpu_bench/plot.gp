# Draws the rates on one CPU that `pfs_pcpu_bench --isa all --data FILE` has written:
#   gnuplot -e "data='FILE'; out='NAME'; note='MACHINE, DATE, COMMIT'" plot.gp
# writes NAME.png and NAME.svg: a panel for each program, a line for each instruction set, dashed ones for what they are compared with.
if (!exists("note")) note = ""
set style data linespoints
set grid ytics lt 1 lc rgb "#e5e5e5"
set border 3
set tics nomirror
shapes = "64B 192B 320B 1K 4K 64K 1M dram table-l1 table table-dram"
names = "'64 × 64 B' '64 × 192 B' '51 × 320 B' '16 × 1 KiB' '4 × 4 KiB' '64 KiB' '1 MiB' 'DRAM' \
    'tables in L1' 'tables in 1.3 MB' 'tables in DRAM'"
set xrange [0.6:words(shapes) + 0.4]
set yrange [0:*]
set ylabel "GB/s"
set xtics rotate by -35 scale 0 font ",9"
set xtics ()
do for [i=1:words(shapes)] { set xtics add (word(names, i) i) }
set key outside top center horizontal samplen 2.5 font ",9" maxrows 2
set rmargin 9
set bmargin 5.5

# The instruction sets in the file, best first. The portable one is no kernel in C.
isas = system(sprintf("awk -F '\\t' 'NR > 1 && $5 != \"\" && $5 != \"portable\" && !seen[$5]++ {printf \"%%s \", $5}' '%s'", data))
colour(isa) = isa eq "avx512" ? "#08306b" : isa eq "vpclmul" ? "#2171b5" : isa eq "avx2" ? "#4aa3df" \
    : isa eq "sse42" ? "#86c5ea" : "#bcdff5"
# The fastest form of a work by one contender, by shape. Blocks and tables are lines of their own.
pick(work, by, isa) = sprintf("< awk -F '\\t' '$2 == 1 && $3 == \"%s\" && $4 == \"%s\" && $5 == \"%s\" && $7 > best[$9] {best[$9] = $7} \
    END {n = split(\"%s\", shape, \" \"); for (i = 1; i <= n; ++i) {if (shape[i] == \"table-l1\") print \"\"; \
    if (shape[i] in best) print i, best[shape[i]] / 1000}}' '%s'", work, by, isa, shapes, data)
three = "xor:255,add:7,counteq:0"
orange = "#d55e00"; green = "#009e73"; pink = "#cc79a7"; grey = "#777777"
set linetype 1 lw 1.8 pt 7 ps 0.5
set linetype 2 lw 1.6 pt 6 ps 0.6 dt (5, 3)

do for [kind in "png svg"] {
    if (kind eq "png") { set terminal pngcairo size 1400,1300 font "DejaVu Sans,11" background "white" } \
    else { set terminal svg size 1400,1300 font "DejaVu Sans,11" background "white" }
    set output out.".".kind
    set multiplot layout 3,2 title "pCPU kernels on one CPU: 10⁹ payload bytes a second, median" font ",15"
    set label 1 note at screen 0.985, 0.008 right font ",8" textcolor rgb "#666666"
    set title "xor:90"
    plot for [isa in isas] pick("xor:90", "packetfs", isa) lt 1 lc rgb colour(isa) title isa, \
        pick("xor:90", "c", "") lt 2 lc rgb orange title "best C loop", \
        pick("modify", "limit", "") lt 2 lc rgb grey title "reading and writing alone"
    unset label 1
    set title "counteq:0"
    plot for [isa in isas] pick("counteq:0", "packetfs", isa) lt 1 lc rgb colour(isa) title isa, \
        pick("counteq:0", "c", "") lt 2 lc rgb orange title "best C loop", \
        pick("read", "limit", "") lt 2 lc rgb grey title "reading alone"
    set title three
    plot for [isa in isas] pick(three, "packetfs", isa) lt 1 lc rgb colour(isa) title isa, \
        pick(three, "packetfs-passes", word(isas, 1)) lt 2 lc rgb green title word(isas, 1)." in three passes", \
        pick(three, "c", "") lt 2 lc rgb orange title "best C loops"
    set title "crc32c"
    plot for [isa in isas] pick("crc32c", "packetfs", isa) lt 1 lc rgb colour(isa) title isa, \
        pick("crc32c", "isa-l", "") lt 2 lc rgb green title "ISA-L", \
        pick("crc32c", "aws-checksums", "") lt 2 lc rgb pink title "aws-checksums", \
        pick("crc32c", "c", "") lt 2 lc rgb orange title "best C loop"
    set title "fnv"
    plot for [isa in isas] pick("fnv", "packetfs", isa) lt 1 lc rgb colour(isa) title isa, \
        pick("fnv", "c", "") lt 2 lc rgb orange title "best C loop"
    set title "xor:90,crc32c in one pass"
    plot for [isa in isas] pick("xor:90,crc32c", "packetfs", isa) lt 1 lc rgb colour(isa) title isa, \
        pick("xor:90", "packetfs", word(isas, 1)) lt 2 lc rgb green title "xor:90 alone, ".word(isas, 1), \
        pick("crc32c", "packetfs", word(isas, 1)) lt 2 lc rgb pink title "crc32c alone, ".word(isas, 1)
    unset multiplot
    set output
}

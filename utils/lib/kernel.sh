# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the scripts on kernel modules share. Source it after common.sh.
# shellcheck disable=SC2154 # root comes from common.sh

# Everything that is downloaded or built for kernels: not in git, may be deleted at any time.
kernel_cache=$root/.build-kernel
modules=(pfs_fastpath pfs_ringpeek r816x_peek)

# find_kernel [LINE]: a kernel that modules can be built for: sets kernel_version and kernel_dir, where its build tree is.
# Without LINE it is the newest whose headers are installed, which need not be the running one; with LINE (6.12) it is
# Debian's newest of that line, whose headers are downloaded and unpacked. Status 69 if there is none.
find_kernel() {
    local version
    if [[ -n ${1:-} ]]; then
        unpack_headers "$1"
        return
    fi
    while read -r version; do
        if [[ -e /lib/modules/$version/build/Makefile ]]; then
            kernel_version=$version kernel_dir=/lib/modules/$version/build
            return
        fi
    done < <(find /lib/modules -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null | grep -v cloud | sort -rV)
    return 69
}

unpack_headers() {
    local package common kbuild tree
    # The meta package names the newest of its line.
    package=$(apt-cache depends "linux-headers-$1-amd64" | sed -n 's/^ *Depends: \(linux-headers-.*-amd64\)$/\1/p') || return 69
    [[ -n $package ]] || return 69
    kernel_version=${package#linux-headers-}
    common=linux-headers-${kernel_version%-amd64}-common
    kbuild=linux-kbuild-${kernel_version%-amd64}
    tree=$kernel_cache/unpacked/$package
    if [[ ! -d $tree ]]; then
        for package in "$package" "$common" "$kbuild"; do
            package=$(download "$package") && dpkg -x "$package" "$tree.part" || return 69
        done
        # The only absolute path in it.
        sed -i "s#^include /usr/src/#include $tree/usr/src/#" "$tree.part/usr/src/linux-headers-$kernel_version/Makefile"
        mv "$tree.part" "$tree"
    fi
    kernel_dir=$tree/usr/src/linux-headers-$kernel_version
}

# build_modules KDIR WORK [make arguments...]: builds the modules in WORK, from copies of the sources, so that the tree
# stays clean and two kernels do not meet.
build_modules() {
    local kdir=$1 work=$2
    shift 2
    mkdir -p "$work/src/dev" "$work/src/packetfs"
    # -u and -p: what has not changed is not built again.
    cp -rup src/dev/kernel "$work/src/dev/"
    cp -rup src/packetfs/uapi "$work/src/packetfs/"
    make -C "$kdir" M="$work/src/dev/kernel" "$@"
}

# download PACKAGE: fetches a Debian package into the cache, once, and prints where it is.
download() {
    local package=$1 file
    mkdir -p "$kernel_cache/packages"
    file=$(compgen -G "$kernel_cache/packages/${package}_*.deb") || {
        (
            # Whole or not at all: a file that was cut off would be taken for the package for ever.
            rm -rf "$kernel_cache/incoming" && mkdir "$kernel_cache/incoming" && cd "$kernel_cache/incoming" &&
                apt-get download "$package" >&2 && mv ./*.deb ../packages/
        ) || return
        file=$(compgen -G "$kernel_cache/packages/${package}_*.deb") || return
    }
    say "$file"
}

# unpacked PACKAGE: downloads and unpacks a Debian package without installing it, and prints where it is.
unpacked() {
    local package=$1 file target
    target=$kernel_cache/unpacked/$package
    if [[ ! -d $target ]]; then
        file=$(download "$package") || return
        rm -rf "$target.part"
        mkdir -p "$target.part"
        dpkg -x "$file" "$target.part" && mv "$target.part" "$target" || return
    fi
    say "$target"
}

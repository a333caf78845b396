# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the scripts on kernel modules share. Source it after common.sh.
# shellcheck disable=SC2154 # root comes from common.sh
# shellcheck disable=SC2034 # what is set here is for those who source it

# Everything that is downloaded or built for kernels: not in git, may be deleted at any time.
kernel_cache=$root/.build-kernel
modules=(pfs_fastpath pfs_ringpeek r816x_peek)

# Whether modules that are not signed can be loaded into the running kernel; says why not on standard error.
running_kernel_allows_modules() {
    local lockdown=/sys/kernel/security/lockdown secure
    if [[ ! -e /proc/modules ]]; then
        warn "Linux $(uname -r) was built without loadable modules (CONFIG_MODULES)."
        warn "  'just test-kernel' tries them in a virtual machine instead."
        return 69
    fi
    if [[ $(cat /proc/sys/kernel/modules_disabled 2>/dev/null) == 1 ]]; then
        warn "Loading modules has been switched off until the next boot (kernel.modules_disabled)."
        return 69
    fi
    if [[ -r $lockdown && $(<"$lockdown") != *"[none]"* ]]; then
        warn "The kernel is locked down ($(<"$lockdown")): it takes signed modules only."
        warn "  Sign them with a key that the machine trusts (DKMS does that), or boot without lockdown."
        return 69
    fi
    if [[ $(cat /sys/module/module/parameters/sig_enforce 2>/dev/null) == Y ]]; then
        warn "The kernel takes signed modules only (module.sig_enforce). Sign them, as DKMS does."
        return 69
    fi
    # The fifth byte is the value of the variable, behind four of attributes.
    for secure in /sys/firmware/efi/efivars/SecureBoot-*; do
        if [[ -r $secure && $(od -An -tu1 -j4 -N1 "$secure") -eq 1 ]]; then
            warn "Note: Secure Boot is on. If loading fails with 'Key was rejected', sign the modules, as DKMS does."
        fi
    done
}

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

# The newest kernel line whose headers the package sources have, such as 6.12.
newest_line() {
    apt-cache pkgnames linux-headers- | grep -E '^linux-headers-[0-9]+\.[0-9]+\..*-amd64$' | grep -vE 'cloud|-rt-' |
        sed -E 's/^linux-headers-([0-9]+\.[0-9]+)\..*/\1/' | sort -uV | tail -n 1
}

unpack_headers() { with_cache_lock unpack_headers_alone "$1"; }

unpack_headers_alone() {
    local package common kbuild tree
    # The meta package names the newest of its line.
    package=$(apt-cache depends "linux-headers-$1-amd64" | sed -n 's/^ *Depends: \(linux-headers-.*-amd64\)$/\1/p') || return 69
    [[ -n $package ]] || return 69
    kernel_version=${package#linux-headers-}
    common=linux-headers-${kernel_version%-amd64}-common
    kbuild=linux-kbuild-${kernel_version%-amd64}
    tree=$kernel_cache/unpacked/$package
    if [[ ! -d $tree ]]; then
        rm -rf "$tree.part"
        unpack "$package" "$tree.part" && unpack "$common" "$tree.part" && unpack "$kbuild" "$tree.part" || return 69
        # The only absolute path in it.
        sed -i "s#^include /usr/src/#include $tree/usr/src/#" "$tree.part/usr/src/linux-headers-$kernel_version/Makefile"
        mv "$tree.part" "$tree"
    fi
    kernel_dir=$tree/usr/src/linux-headers-$kernel_version
}

# copy_module_sources WORK: copies the sources of the modules; what has not changed keeps its time, and is not built again.
copy_module_sources() {
    mkdir -p "$1/src/dev" "$1/src/packetfs"
    cp -rup src/dev/kernel "$1/src/dev/"
    cp -rup src/packetfs/uapi "$1/src/packetfs/"
}

# build_modules KDIR WORK [make arguments...]: builds the modules in WORK, from copies of the sources, so that the tree
# stays clean and two kernels do not meet.
build_modules() {
    local kdir=$1 work=$2
    shift 2
    copy_module_sources "$work"
    make -C "$kdir" M="$work/src/dev/kernel" "$@"
}

# unpack PACKAGE FOLDER: fetches a Debian package and unpacks it in a folder, without installing it.
unpack() {
    local incoming status=0
    # A folder of its own: several runs may be fetching at the same time.
    mkdir -p "$kernel_cache" "$2"
    incoming=$(mktemp -d "$kernel_cache/incoming.XXXXXX") || return
    (
        cd "$incoming" || exit
        # A list of packages that is out of date names versions that are gone.
        apt-get download "$1" || { as_root apt-get update && apt-get download "$1"; }
    ) >&2 && dpkg -x "$incoming"/*.deb "$2" || status=$?
    rm -rf "$incoming"
    return "$status"
}

# with_cache_lock COMMAND...: runs it while no other run changes what is unpacked in the cache.
with_cache_lock() {
    local status=0 descriptor
    mkdir -p "$kernel_cache"
    exec {descriptor}>"$kernel_cache/lock"
    flock "$descriptor"
    "$@" || status=$?
    exec {descriptor}>&-
    return "$status"
}

# unpacked PACKAGE: where in the cache a Debian package lies unpacked; fetches it if it does not yet.
unpacked() { with_cache_lock unpacked_alone "$1"; }

unpacked_alone() {
    local target=$kernel_cache/unpacked/$1
    if [[ ! -d $target ]]; then
        # Whole or not at all: what was interrupted must not be taken for the package next time.
        rm -rf "$target.part"
        unpack "$1" "$target.part" && mv "$target.part" "$target" || return
    fi
    say "$target"
}

# record_run VERSION FLAVOUR STATUS SECONDS COUNTS: remembers how the whole plan went on a kernel, for `just kernel-status` and
# `just promote`. The digest is of the modules' sources and their tests.
record_run() {
    mkdir -p "$kernel_cache/runs"
    printf 'kernel=%s\nflavour=%s\nstatus=%s\nseconds=%s\ncounts=%s\ndate=%s\nsources=%s\n' "$1" "$2" "$3" "$4" "$5" \
        "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$(kernel_sources_digest)" >"$kernel_cache/runs/$1"
}

# What a run of the tests is about: the modules' sources.
kernel_sources_digest() {
    find src/dev/kernel src/packetfs/uapi -name '*.[ch]' -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum | cut -c1-16
}

# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# A bare Debian made for the occasion, for the tests that need one: what utils/test-fresh and tests/package/run share. Source
# it after common.sh. Everything happens in mount and process namespaces of the caller's own, and is removed at the end.

# shellcheck disable=SC2034 # read by those who source this
release=bookworm
# Where commands run in the new system, and their PATH; for the caller to change.
home=/
new_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
variables='^(PIP_|SSL_CERT_|CURL_CA_BUNDLE|GIT_SSL_|REQUESTS_CA_BUNDLE|https?_proxy|no_proxy|HTTPS?_PROXY|NO_PROXY)'

# Directories of this machine that git fetches from in place of the addresses in Package.swift.
git_mirrors() {
    git config --get-regexp '^url\..*\.insteadof$' | sed -n 's|^url\.\(/.*\)\.insteadof .*|\1|p' | sort -u
}

# What every system has mounted.
mount_all() {
    local system=$1 device
    mount -t proc proc "$system/proc"
    mount -t sysfs -o ro sysfs "$system/sys"
    mount -t tmpfs -o mode=755 tmpfs "$system/dev"
    for device in null zero full random urandom tty; do
        touch "$system/dev/$device"
        mount --bind "/dev/$device" "$system/dev/$device"
    done
    # What a kernel has that can make network interfaces.
    if [[ -c /dev/net/tun ]]; then
        mkdir "$system/dev/net"
        touch "$system/dev/net/tun"
        mount --bind /dev/net/tun "$system/dev/net/tun"
    fi
    ln -s /proc/self/fd "$system/dev/fd"
    mkdir -m 1777 "$system/dev/shm"
    mount -t tmpfs -o mode=1777 tmpfs "$system/dev/shm"
}

# Shows folders of this machine, read from standard input, in the new system at the same place.
lend_folders() {
    local system=$1 folder
    while IFS= read -r folder; do
        mkdir -p "$system/$folder"
        mount --bind "$folder" "$system/$folder"
        mount -o remount,bind,ro "$system/$folder"
    done
}

# Runs a command in the new system with a newcomer's environment: nothing of ours but how to reach the network.
in_system() {
    local system=$1 settings=() line
    shift
    while IFS= read -r line; do
        if [[ ${line%%=*} =~ $variables ]]; then settings+=("$line"); fi
    done < <(env)
    env -i "${settings[@]}" HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 PATH="$new_path" \
        chroot "$system" bash -c "cd $home && \"\$@\"" bash "$@" </dev/null
}

# A bare system as a tar file, made once.
make_base() {
    local base=$1 part status=0
    [[ -f $base ]] && return
    part=$(mktemp -d -p "$work")
    # In a mount namespace too: debootstrap mounts /proc there, and would leave it behind when interrupted.
    unshare --mount --propagation private debootstrap --variant=minbase "$release" "$part" &&
        mkdir -p "$(dirname "$base")" &&
        tar -C "$part" --exclude=./dev/* --exclude=./var/cache/apt/archives/*.deb -cf "$base.part" . &&
        mv "$base.part" "$base" || status=$?
    rm -rf "$part"
    return "$status"
}

# What this machine needs to reach packages, copied into the new system.
lend_settings() {
    local system=$1 file mirror copied=false
    cp /etc/resolv.conf "$system/etc/resolv.conf"
    cp /etc/hosts "$system/etc/hosts"
    if [[ -d /usr/local/share/ca-certificates ]]; then
        mkdir -p "$system/usr/local/share"
        cp -r /usr/local/share/ca-certificates "$system/usr/local/share/"
    fi
    apt-config dump | grep -E '^Acquire::(https?::|Retries|Check-Valid-Until)' >"$system/etc/apt/apt.conf.d/90lent" || true
    # Only the distribution's own sources: the new system has no other keys.
    for file in /etc/apt/sources.list.d/*.sources; do
        if [[ -f $file ]] && grep -q '^Signed-By:.*debian-archive-keyring' "$file" &&
            ! grep '^Signed-By:' "$file" | grep -qv debian-archive-keyring; then
            cp "$file" "$system/etc/apt/sources.list.d/"
            copied=true
        fi
    done
    if $copied; then rm -f "$system/etc/apt/sources.list"; fi
    for file in /etc/pip.conf "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf"; do
        if [[ -f $file ]]; then install -D -m 644 "$file" "$system/${file/#"$HOME"//root}"; fi
    done
    git_mirrors | while IFS= read -r mirror; do
        git config --get-all "url.$mirror.insteadof" | while IFS= read -r file; do
            git config --file "$system/etc/gitconfig" --add "url.$mirror.insteadof" "$file"
        done
        # The mirrors, and the clone, may belong to another user than the one who builds.
        git config --file "$system/etc/gitconfig" safe.directory '*'
    done
}

cleanup() {
    local try
    if [[ -n ${child:-} ]]; then
        # Takes every process in the namespaces along, and with the last of them the mounts go.
        kill -KILL "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    for try in 1 2 3 4 5; do
        rm -rf --one-file-system "$work" 2>/dev/null && return
        sleep "$try"
    done
    warn "$(basename "$0"): could not remove $work"
}

work='' child='' # what cleanup has to take away

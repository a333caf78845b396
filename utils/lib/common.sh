# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the scripts in utils/ share. Source it after `set -euo pipefail`; it moves to the root of the tree.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit
logs=$root/.build-logs

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
# die STATUS MESSAGE...: exit statuses follow sysexits, as in the tools (69: not available here).
die() {
    local status=$1
    shift
    warn "$(basename "$0"): $*"
    exit "$status"
}

# Runs a command with its output in a log, and shows one line on the screen: what, how it went, how long it took.
# logged NAME TEXT COMMAND...; returns the command's status, after showing the end of the log if it failed (not where
# the variable show_log is false).
logged() {
    local log=$logs/$1.log text=$2 started=$SECONDS status=0
    shift 2
    mkdir -p "$logs"
    printf '  %-46s ' "$text"
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if ((status == 0)); then
        say "ok, $((SECONDS - started)) s"
        return 0
    fi
    say "FAILED with status $status after $((SECONDS - started)) s"
    if ${show_log:-true}; then log_tail "$log"; fi
    say "    whole log: ${log#"$root"/}"
    return "$status"
}

# The end of a log, indented.
log_tail() { tail -n 40 "$1" | sed 's/^/    | /'; }

# The way to run a command as root: nothing, or sudo where it can work; fails if there is none.
as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
        sudo "$@"
    else
        return 69
    fi
}

# present PROBE: whether the machine has what a probe of utils/lib/needs.txt names.
present() {
    local kind=${1%%:*} what=${1#*:}
    case $kind in
        cmd) command -v "$what" >/dev/null ;;
        file) compgen -G "$what" >/dev/null ;;
        lib) [[ $(PATH=$PATH:/sbin:/usr/sbin ldconfig -p) == *"$what"* ]] ;;
        py) command -v python3 >/dev/null && python3 -c "import $what" 2>/dev/null ;;
        *) die 70 "unknown kind of need: $1" ;;
    esac
}

# has PACKAGE: whether the machine has what utils/lib/needs-test.txt looks for in place of a Debian package.
has() {
    local probe package _
    while read -r probe package _; do
        if [[ $package == "$1" ]] && present "$probe"; then return; fi
    done <"$root/utils/lib/needs-test.txt"
    return 1
}

# SwiftPM keeps what the manifest said for as long as its text and the environment stay the same; whether it found DPDK and
# MPI is neither. Here it becomes a part of the environment, so that installing one makes a difference.
PACKETFS_DPDK=no PACKETFS_MPI=no
if has libdpdk-dev; then PACKETFS_DPDK=yes; fi
if has libopenmpi-dev; then PACKETFS_MPI=yes; fi
export PACKETFS_DPDK PACKETFS_MPI

# The path of ruff, which utils/setup installs in .build-tools where there is no other; its name where it is missing.
ruff_command() { PATH=$root/.build-tools/bin:$PATH command -v ruff || say ruff; }

# Checks that are counted: `count_into "$@"` takes --counts FILE, `finish` writes `passed failed skipped` there.
passed=0 failed=0 skipped=0 counts=/dev/null
count_into() { if [[ ${1:-} == --counts ]]; then counts=$2; fi; }
finish() {
    say "$passed $failed $skipped" >"$counts"
    ((failed == 0))
}

# check NAME TEXT NEEDED-COMMAND COMMAND...: one check; skipped, with status 1, where the machine lacks what it needs.
check() {
    local name=$1 text=$2 status=0
    if ! command -v "$3" >/dev/null; then
        printf '  %-46s skipped: %s is not installed\n' "$text" "$3"
        skipped=$((skipped + 1))
        return 1
    fi
    shift 3
    logged "$name" "$text" "$@" || status=$?
    if ((status == 0)); then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    return "$status"
}

# Adds what another script has counted into a file; one that died before it wrote the file has failed.
add_counts() {
    local counted=(0 1 0)
    if [[ -s $1 ]]; then read -r -a counted <"$1"; fi
    passed=$((passed + counted[0])) failed=$((failed + counted[1])) skipped=$((skipped + counted[2]))
}

#!/bin/sh
# Starts and stops a Docker engine on a Debian or Ubuntu that has none; knows nothing of what will run on it.
#
#   engine.sh up      if an engine answers (any context), change nothing; else install docker.io, start it, wait for it
#   engine.sh down    stop the engine that `up` started, never another
#   engine.sh status  one sentence
#
# Addresses come from 198.18.0.0/15 (RFC 2544), so that they collide with nothing a company network uses.
# Where systemd runs, the package's own unit is used; elsewhere dockerd is started by hand, in a session of its own,
# because it has to outlive the shell that asked for it.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
state=${XDG_CACHE_HOME:-$HOME/.cache}/mirror-run/engine
log=$state/dockerd.log
wait_seconds=60
configuration=/etc/docker/daemon.json

say() { echo "engine: $*" >&2; }

answers() { docker info >/dev/null 2>&1; }

mtu() { # of the interface that carries the default route: a larger one in containers loses packets silently
    dev=$(awk '$2 == "00000000" { print $1; exit }' /proc/net/route)
    cat "/sys/class/net/${dev:-lo}/mtu" 2>/dev/null || echo 1500
}

settings() {
    m=$(mtu)
    [ "$m" -gt 1500 ] && m=1500
    cat <<JSON
{
  "bip": "198.18.0.1/24",
  "default-address-pools": [{"base": "198.19.0.0/16", "size": 24}],
  "mtu": $m
}
JSON
}

# Is the recorded process still the dockerd that we started? A pid alone may be somebody else's by now, so its start
# time is recorded too (field 22 of /proc/PID/stat, see proc(5)).
started_at() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }
ours() {
    [ -r "$state/pid" ] || return 1
    read -r pid when <"$state/pid" || return 1
    [ -n "$when" ] && [ "$(started_at "$pid")" = "$when" ]
}

wait_for_it() {
    n=0
    until answers; do
        n=$((n + 1))
        if [ "$n" -gt $((wait_seconds * 5)) ] || { [ -r "$state/pid" ] && ! ours; }; then
            say "dockerd does not answer; the end of $log:"
            tail -n 20 "$log" >&2 2>/dev/null || true
            exit 1
        fi
        sleep 0.2
    done
}

up() {
    if command -v docker >/dev/null && answers; then
        say "using the engine that answers ($(docker version --format '{{.Server.Version}}'))"
        return
    fi
    [ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ] || {
        say "no engine answers, and only root on Linux can start one here: start Docker and try again"
        exit 1
    }
    mkdir -p "$state" 2>/dev/null || {
        say "$state cannot be made: name a folder that can, by XDG_CACHE_HOME"
        exit 1
    }
    if [ -d /run/systemd/system ]; then
        if [ ! -e "$configuration" ]; then # before the package, whose installation starts the engine
            mkdir -p "${configuration%/*}"
            settings >"$configuration"
            : >"$state/configured"
        fi
        "$here/install.sh" engine
        systemctl start docker.service
        : >"$state/unit"
    elif ! ours; then
        "$here/install.sh" engine
        settings >"$state/daemon.json"
        # A pid file of a dockerd that died without cleaning up, or before a reboot, would refuse the start.
        for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
            if [ -r "$file" ]; then
                name=$(cat "/proc/$(cat "$file")/comm" 2>/dev/null || true)
                case $name in dockerd | containerd) ;; *) rm -f "$file" ;; esac
            fi
        done
        setsid nohup dockerd --config-file "$state/daemon.json" >"$log" 2>&1 </dev/null &
        echo "$! $(started_at $!)" >"$state/pid"
        say "started dockerd (pid $!), log in $log"
    fi
    wait_for_it
    say "ready ($(docker version --format '{{.Server.Version}}'))"
}

down() {
    if [ -e "$state/unit" ]; then
        systemctl stop docker.service docker.socket
        rm -f "$state/unit"
        if [ -e "$state/configured" ]; then rm -f "$configuration" "$state/configured"; fi
        say "stopped docker.service"
    elif ours; then
        read -r pid when <"$state/pid"
        kill "$pid"
        n=0
        while ours; do
            n=$((n + 1))
            [ "$n" -gt 300 ] && { say "dockerd (pid $pid) does not end"; exit 1; }
            sleep 0.1
        done
        rm -f "$state/pid"
        say "stopped dockerd (pid $pid)"
    else
        rm -f "$state/pid"
        say "no engine of ours is running"
    fi
}

status() {
    if ours; then
        say "dockerd of ours, pid $(cut -d ' ' -f 1 "$state/pid")"
    elif answers; then
        say "an engine answers, not started from here"
    else
        say "none answers"
    fi
}

case ${1:-} in
up | down | status) "$1" ;;
*)
    sed -n '2,7p' "$0" >&2
    exit 2
    ;;
esac

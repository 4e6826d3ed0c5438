#!/bin/sh
# What the tests need from Debian: installed when we may, named when we may not.
missing=
command -v tshark >/dev/null || missing="$missing tshark"
command -v chromium >/dev/null || missing="$missing chromium"
command -v ip >/dev/null || missing="$missing iproute2"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$missing"
    log=$(mktemp)
    if apt-get update -qq >"$log" 2>&1 &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >>"$log" 2>&1; then
        rm -f "$log"
        exit 0
    fi
    tail -n 5 "$log"
fi
echo "Not installed:$missing. Tests that need them are skipped and say so; install them to run everything."

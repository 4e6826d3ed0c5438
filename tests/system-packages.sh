#!/bin/sh
# What the tests need from Debian: installed when we may, named when we may not.
# command:package, one per line
needed="
tshark:tshark
chromium:chromium
ip:iproute2
tcpreplay:tcpreplay
nft:nftables
named:bind9
named-checkzone:bind9-utils
unbound-checkconf:unbound
dnsmasq:dnsmasq-base
squid:squid
slapd:slapd
wireguard-go:wireguard-go
wg:wireguard-tools
curl:curl
openssl:openssl
node:nodejs
npm:npm
"
PATH="$PATH:/usr/sbin:/sbin"
missing=
for pair in $needed; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$missing"
    log=$(mktemp)
    # shellcheck disable=SC2086
    if apt-get update -qq >"$log" 2>&1 &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >>"$log" 2>&1; then
        rm -f "$log"
        exit 0
    fi
    tail -n 5 "$log"
fi
echo "Not installed:$missing. Tests that need them are skipped and say so; install them to run everything."

"""Counts names in what a peer prints: `count_names.py tshark|ndpi|mercury`, from standard input.

Prints how many of TLS, of QUIC and DNS questions.
"""

import json
import re
import sys

tls = quic = dns = 0
for line in sys.stdin:
    if sys.argv[1] == "tshark":  # name, QUIC version, response flag
        name, version, response = line.rstrip("\n").split("\t")
        quic += bool(name and version)
        tls += bool(name and not version)
        dns += response in ("0", "False")
    elif sys.argv[1] == "mercury":
        found = json.loads(line)
        named = "server_name" in found.get("tls", {}).get("client", {})
        quic += named and "quic" in found
        tls += named and "quic" not in found
        dns += "query" in found.get("dns", {})
    elif "Hostname/SNI:" in line and (kind := re.search(r"proto: [0-9.]+/(TLS|QUIC|DNS)", line)):
        tls, quic, dns = tls + (kind[1] == "TLS"), quic + (kind[1] == "QUIC"), dns + (kind[1] == "DNS")
print(tls, quic, dns)

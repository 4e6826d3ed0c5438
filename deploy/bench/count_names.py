"""Counts names in what a peer prints: `count_names.py tshark|ndpi`, from standard input.

Prints how many of TLS, of QUIC and DNS questions.
"""

import re
import sys

tls = quic = dns = 0
for line in sys.stdin:
    if sys.argv[1] == "tshark":  # name, QUIC version, response flag
        name, version, response = line.rstrip("\n").split("\t")
        quic += bool(name and version)
        tls += bool(name and not version)
        dns += response in ("0", "False")
    elif "Hostname/SNI:" in line and (kind := re.search(r"proto: [0-9.]+/(TLS|QUIC|DNS)", line)):
        tls, quic, dns = tls + (kind[1] == "TLS"), quic + (kind[1] == "QUIC"), dns + (kind[1] == "DNS")
print(tls, quic, dns)

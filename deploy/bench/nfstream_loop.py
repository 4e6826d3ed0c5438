"""NFStream as its documentation begins."""

import sys

from nfstream import NFStreamer

if __name__ == "__main__":
    found = {"TLS": 0, "QUIC": 0, "DNS": 0}
    for flow in NFStreamer(source=sys.argv[1]):
        kind = flow.application_name.partition(".")[0]
        if flow.requested_server_name and kind in found:
            found[kind] += 1
    print(found["TLS"], found["QUIC"], found["DNS"])

"""Every packet through mercury-python."""

import struct
import sys

import mercury

reader = mercury.Mercury()
found = {"tls": 0, "quic": 0, "dns": 0}
with open(sys.argv[1], "rb", buffering=1 << 20) as file:  # noqa: PTH123
    file.read(24)
    while len(head := file.read(16)) == 16:
        seconds, micros, captured, _ = struct.unpack("<IIII", head)
        said = reader.get_mercury_json(file.read(captured), seconds + micros / 1e6)
        if not said:
            continue
        kind = next((name for name in ("quic", "tls", "dns") if name in said), "")
        client = said.get("tls", {}).get("client", {})
        if "query" in said.get("dns", {}) or (kind != "dns" and kind and client.get("server_name")):
            found[kind] += 1
print(found["tls"], found["quic"], found["dns"])

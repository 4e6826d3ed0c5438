"""What one writes first: dpkt's objects, a dictionary of flows, names from whole records in one segment."""

import sys

import dpkt

flows: dict[object, list[int]] = {}
found = {"tls": 0, "quic": 0, "dns": 0}
with open(sys.argv[1], "rb") as file:  # noqa: PTH123
    for _, data in dpkt.pcap.Reader(file):
        ip = dpkt.ethernet.Ethernet(data).data
        segment = getattr(ip, "data", None)
        if not isinstance(segment, dpkt.tcp.TCP | dpkt.udp.UDP):
            continue
        ends = sorted([(ip.src, segment.sport), (ip.dst, segment.dport)])
        flow = flows.setdefault((ip.p, *ends), [0, 0])
        flow[0] += 1
        flow[1] += len(data)
        payload = segment.data
        try:
            if isinstance(segment, dpkt.udp.UDP):
                if 53 in (segment.sport, segment.dport):
                    found["dns"] += dpkt.dns.DNS(payload).qr == dpkt.dns.DNS_Q
            elif payload[:1] == b"\x16" and payload[5:6] == b"\x01":
                hello = dpkt.ssl.TLSHandshake(dpkt.ssl.TLSRecord(payload).data).data
                found["tls"] += any(kind == 0 for kind, _ in hello.extensions)
        except (dpkt.Error, dpkt.ssl.SSL3Exception, IndexError):
            continue
print(found["tls"], found["quic"], found["dns"])

"""What the kernel is to let in: pcap-filter(7) expressions as programs of classic BPF, by libpcap."""

from __future__ import annotations

import os
import re
import socket
from typing import Any

Instruction = tuple[int, int, int, int]  # code, jt, jf, k

ETHERNET, LOOPBACK = 1, 772  # linux/if_arp.h
_EN10MB, _RAW = 1, 12  # link types of libpcap
_LONGEST = 0xFFFF  # bytes of a packet that an accepting program lets in
_TAGS = (0x8100, 0x88A8, 0x9100)


def compiled(expression: str, interface: str) -> list[Instruction]:
    """The program for an interface; empty for "". Raises ValueError for what is no expression, OSError for what is no
    interface.

    On Ethernet it means packets with up to two VLAN tags as well. The kernel takes the outer one off before it
    filters, unless it is 0x9100; a program that takes the inner one's type for that of an IP packet would find no
    host in it, and a `not host` would let it in. An expression that itself says `vlan` is meant as tcpdump takes it,
    and asks the kernel for the tag.
    """
    if not expression:
        return []
    _program(expression, _EN10MB)  # what is wrong is said of what was written
    if hardware(interface) not in (ETHERNET, LOOPBACK):
        return _program(expression, _RAW)
    if re.search(r"\bvlan\b", expression):
        return _program(expression, interface)
    inner = f"vlan and not {_tag(16)} and ({expression})"
    both = f"ether[12:2] = 0x9100 and vlan and not {_tag(20)} and ({expression})"  # an expression's second `vlan`
    return _program(f"(not {_tag(12)} and ({expression})) or ({inner}) or ({both})", _EN10MB)


def hardware(interface: str) -> int:
    """The interface's ARPHRD number, as a bound socket says it."""
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as probe:
            probe.bind((interface, 0))
            return int(probe.getsockname()[3])
    except OSError as error:
        number = error.errno or 0
        raise OSError(number, os.strerror(number), interface) from None


def _tag(at: int) -> str:
    return "(" + " or ".join(f"ether[{at}:2] = {tpid:#x}" for tpid in _TAGS) + ")"


def _program(expression: str, link: int | str) -> list[Instruction]:
    """`link`: a link type of libpcap, or an interface, which says what its kernel can be asked for."""
    try:
        from ctypes import byref, create_string_buffer

        from scapy.libs import winpcapy as pcap
        from scapy.libs.structures import bpf_program
    except (ImportError, OSError):
        raise ValueError("filter: needs libpcap") from None
    error = create_string_buffer(pcap.PCAP_ERRBUF_SIZE)
    handle = (
        pcap.pcap_open_dead(link, _LONGEST)
        if isinstance(link, int)
        else pcap.pcap_open_live(create_string_buffer(link.encode()), _LONGEST, 0, 0, error)
    )
    if not handle:
        raise ValueError(f"filter: {error.value.decode(errors='replace')}")
    try:
        program = bpf_program()
        if pcap.pcap_compile(handle, byref(program), create_string_buffer(expression.encode()), 1, -1):
            raise ValueError(f"filter: {expression!r}: {_text(pcap.pcap_geterr(handle))}")
        found = [program.bf_insns[at] for at in range(program.bf_len)]
        instructions = [(one.code, one.jt, one.jf, one.k & 0xFFFF_FFFF) for one in found]
        pcap.pcap_freecode(byref(program))
        return instructions
    finally:
        pcap.pcap_close(handle)


def _text(said: Any) -> str:
    return bytes(bytearray(said)).rstrip(b"\0").decode(errors="replace")

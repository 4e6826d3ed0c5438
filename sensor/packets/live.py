"""Frames from interfaces instead of a file: opened, started, asked for facts until it has stopped.

The native engine reads the kernel's ring in threads of its own (`core/src/live.rs`); the portable one reads
scapy's sockets here. Both restore the VLAN tags that the kernel takes off, take times from the kernel and
count what it dropped. Linux only.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from sensor.packets.engine import native
from sensor.packets.evidence import Evidence, Kept
from sensor.packets.facts import Fact, Frame, Limits, Watch
from sensor.packets.filters import ETHERNET, LOOPBACK, Instruction, compiled
from sensor.packets.portable.engine import PortableEngine

if TYPE_CHECKING:
    from scapy.arch.linux import L2ListenSocket

RING = 128 << 20  # bytes of each ring: a quarter of a second at 4 Gbit/s
_BATCH = 1_000  # frames between two looks at the clock
_MOST = (1 << 31) - 1  # bytes of a socket's buffer; the kernel stops at half of it
_LONGEST = 262_144  # bytes of a frame; segmentation offload makes up to 64 KiB
_BEHIND = 200_000_000  # ns that ticks stay behind the clock: frames wait in sockets
_ON_ITS_WAY = 64_000_000  # ns that a packet may take into its socket once the kernel gave it a time
_LOOK = 0.008  # seconds between two looks at packets that wait for others
_SOL_PACKET, _IGNORE_OUTGOING, _STATISTICS = 263, 23, 6  # linux/socket.h, linux/if_packet.h
_RCVBUFFORCE, _ATTACH_FILTER = 33, 26  # asm-generic/socket.h
_GET_FLAGS, _UP = 0x8913, 1  # linux/sockios.h, linux/if.h
_EVERY_PROTOCOL = 3  # linux/if_ether.h
_RAW_IP = 101
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """How to capture. `filter` is an expression in pcap-filter(7)'s language; "" lets everything in."""

    workers: int = 1
    ring: int = RING
    promiscuous: bool = True
    filter: str = ""
    evidence: int = 0  # packets kept of each watched connection


class Live(Protocol):
    """Interfaces being watched. Sockets are open from the beginning; nothing is captured before `start`."""

    def start(self) -> None: ...

    def facts(self, timeout: float) -> list[Fact] | None:
        """Facts, once there are some or `timeout` seconds are over; None when all was said after `stop`."""

    def look(self, watch: Watch) -> None:
        """Watch something else from now on."""

    def stop(self) -> None:
        """Let nothing more in; what was let in is still reported, and flows are closed."""

    def kept(self) -> tuple[list[Kept], int]:
        """First packets of watched connections since the last call, and how many more there was no room for."""

    def counts(self) -> list[tuple[int, int]]:
        """Packets per interface since the start: let in, and of those dropped by the kernel."""

    def troubles(self) -> list[str]:
        """What went wrong with the sockets since the last call."""


def open_live(engine: str, interfaces: Sequence[str], watch: Watch, limits: Limits, options: Options) -> Live:
    """Open `interfaces` for the engine that `select` named.

    Raises OSError (PermissionError without CAP_NET_RAW) and ValueError for a filter that cannot be compiled.
    """
    if engine != "native":
        if options.workers > 1:
            raise ValueError("the portable engine has one worker: install the native engine for more")
        return PortableLive(interfaces, watch, limits, options)
    opened: Live = native().Live(
        interfaces,
        watch,
        limits,
        workers=options.workers,
        ring=options.ring,
        promiscuous=options.promiscuous,
        filters=[compiled(options.filter, name) for name in interfaces],
        evidence=options.evidence,
    )
    return opened


class PortableLive:
    """scapy's sockets and the portable engine, in the caller's thread."""

    def __init__(self, interfaces: Sequence[str], watch: Watch, limits: Limits, options: Options) -> None:
        self._engine = PortableEngine(watch, limits)
        self._evidence = Evidence(options.evidence, limits) if options.evidence else None
        self._names = tuple(interfaces)
        self._sockets = [_socket(name, options) for name in interfaces]
        self._links = [_link(opened) for opened in self._sockets]
        self._ahead: list[deque[Frame]] = [deque() for _ in interfaces]  # received, and not their turn yet
        self._counts = [(0, 0)] * len(interfaces)
        self._troubles: list[str] = []
        self._until: int | None = None  # frames after this time came after `stop`
        self._ended = False

    def start(self) -> None:
        """Sockets receive since they are open; what came so far is not part of it."""
        for name, opened in zip(self._names, self._sockets, strict=True):
            opened.ins.setblocking(False)
            try:
                while _receive(opened):
                    pass
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                self._troubles.append(f"{name}: {error.strerror}")
            _statistics(opened)

    def look(self, watch: Watch) -> None:
        self._engine.look(watch)

    def stop(self) -> None:
        if self._until is None:
            self._until = time.time_ns()

    def troubles(self) -> list[str]:
        found, self._troubles = self._troubles, []
        return found

    def counts(self) -> list[tuple[int, int]]:
        if not self._ended:
            self._count()
        return list(self._counts)

    def _count(self) -> None:
        now = [_statistics(opened) for opened in self._sockets]
        self._counts = [(a + c, b + d) for (a, b), (c, d) in zip(self._counts, now, strict=True)]

    def facts(self, timeout: float) -> list[Fact] | None:
        if self._ended:
            return None
        if self._until is not None:
            return self._finish()
        ahead = any(self._ahead)
        ready, _, _ = select.select(
            [opened.ins for opened in self._sockets], [], [], min(timeout, _LOOK) if ahead else timeout
        )
        if frames := self._frames() if ready or ahead else []:
            return self._feed(frames)
        return self._told(self._engine.tick(time.time_ns() - _BEHIND))

    def _finish(self) -> list[Fact]:
        found: list[Fact] = []
        until, more = self._until or 0, True
        while more:
            frames = [frame for frame in self._frames() if frame.time <= until]
            found += self._feed(frames)
            more = bool(frames) or any(ahead and ahead[0].time <= until for ahead in self._ahead)
        self._count()
        for opened in self._sockets:
            opened.close()
        self._ended = True
        return found + self._told(self._engine.finish())

    def _feed(self, frames: list[Frame]) -> list[Fact]:
        if self._evidence:
            self._evidence.frames(frames)
        return self._told(self._engine.feed(frames))

    def _told(self, facts: list[Fact]) -> list[Fact]:
        if self._evidence:
            self._evidence.facts(facts)
        return facts

    def kept(self) -> tuple[list[Kept], int]:
        return self._evidence.take() if self._evidence else [], 0

    def _frames(self) -> list[Frame]:
        """What is there, in the order of its times: frames wait until no other interface can have older ones."""
        now = time.time_ns()
        seen = now - _ON_ITS_WAY
        whole = [seen if self._drain(at) else ahead[-1].time for at, ahead in enumerate(self._ahead)]
        found, until = [], min(whole)
        for ahead in self._ahead:
            # Times to come are from before the clock was set: nobody knows their order.
            while ahead and (ahead[0].time <= until or ahead[0].time > now or len(whole) == 1):
                found.append(ahead.popleft())
        found.sort(key=lambda frame: frame.time)
        return found

    def _drain(self, at: int) -> bool:
        """Receive what an interface has, up to a batch. False: there may be more."""
        ahead, link = self._ahead[at], self._links[at]
        try:
            while len(ahead) < _BATCH:
                received = _receive(self._sockets[at])
                if received is None:
                    return True
                data, when = received
                ahead.append(Frame(when, link, data, len(data)))
        except OSError as error:
            if error.errno != errno.ENETDOWN:
                raise
            self._troubles.append(f"{self._names[at]}: {error.strerror}")
            return True
        return False


def is_up(interface: str) -> bool:
    """netdevice(7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_one:
        try:
            found = fcntl.ioctl(any_one, _GET_FLAGS, interface.encode().ljust(40, b"\0"))
        except OSError:
            return False
    return bool(struct.unpack_from("H", found, 16)[0] & _UP)


def _socket(interface: str, options: Options) -> L2ListenSocket:
    import scapy.layers.l2  # noqa: F401  # link types by ARPHRD number
    from scapy.arch.linux import L2ListenSocket
    from scapy.error import Scapy_Exception

    try:
        socket.if_nametoindex(interface)
        program = compiled(options.filter, interface)
        make = partial(L2ListenSocket, iface=interface, promisc=options.promiscuous)
        # scapy reads a new socket, and fails where the interface is down: there it gets one that is not bound.
        opened = make() if is_up(interface) else make(type=0)
        opened.ins.bind((interface, _EVERY_PROTOCOL))
    except OSError as error:
        number = error.errno or errno.ENODEV
        raise OSError(number, os.strerror(number), interface) from None
    except Scapy_Exception as error:
        raise ValueError(f"{interface}: {error}") from None
    ring = min(options.ring, _MOST)
    try:
        opened.ins.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, ring)
    except PermissionError:  # without CAP_NET_ADMIN up to net.core.rmem_max
        opened.ins.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ring)
    _attach(opened, program)
    if opened.ins.getsockname()[3] == LOOPBACK:
        opened.ins.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)  # it comes in as well
    return opened


def _link(opened: L2ListenSocket) -> int:
    """LINKTYPE of what the socket gives; what has no Ethernet header begins with its network header."""
    return 1 if opened.ins.getsockname()[3] in (ETHERNET, LOOPBACK) else _RAW_IP


def _attach(opened: L2ListenSocket, program: Sequence[Instruction]) -> None:
    if program:
        code = b"".join(struct.pack("HBBI", *one) for one in program)
        memory = ctypes.create_string_buffer(code, len(code))
        about = struct.pack("HL", len(program), ctypes.addressof(memory))  # struct sock_fprog, linux/filter.h
        opened.ins.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, about)


def _receive(opened: L2ListenSocket) -> tuple[bytes, int] | None:
    try:
        _, data, when = opened.recv_raw(_LONGEST)
    except BlockingIOError:
        return None
    return (data or b"", int((when or 0) * _NS))


def _statistics(opened: L2ListenSocket) -> tuple[int, int]:
    """Since the last call (struct tpacket_stats)."""
    raw: Any = opened.ins.getsockopt(_SOL_PACKET, _STATISTICS, 8)
    received, dropped = struct.unpack("II", raw)
    return received, dropped

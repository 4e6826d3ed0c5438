"""What the kernel lets in, tags or no Ethernet at all: packets through a wire and through a tunnel's interface."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sensor.packets.filters import compiled
from tests.sensor.packets.build import ethernet, ipv4, tcp
from tests.sensor.packets.conftest import installed
from tests.sensor.wire_pair import Pair, reason_to_skip

why = reason_to_skip()
pytestmark = pytest.mark.timeout(60)
WIRE = pytest.mark.skipif(bool(why), reason=why)
ENGINES = pytest.mark.parametrize("engine", installed())
PACKET = ipv4(tcp(b"x", sport=40_000), 6)  # 10.0.0.1 to 192.0.2.1
# A tunnel's interface, and packets that arrive at it.
TUNNEL = """
import fcntl, os, struct, subprocess, sys
tunnel = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tunnel, 0x400454CA, struct.pack("16sH", b"tun0", 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
subprocess.run(["ip", "link", "set", "tun0", "up"], check=True)
print(flush=True)
for line in sys.stdin:
    os.write(tunnel, bytes.fromhex(line))
    print(flush=True)
"""


def tagged(frame: bytes, *tags: tuple[int, int]) -> bytes:
    return frame[:12] + b"".join(struct.pack(">HH", tpid, vlan) for tpid, vlan in tags) + frame[12:]


PLAIN = ethernet(PACKET)
FRAMES = {
    "plain": PLAIN,
    "10": tagged(PLAIN, (0x8100, 10)),
    "10 in 20": tagged(PLAIN, (0x88A8, 20), (0x8100, 10)),
    "10 in 0x9100": tagged(PLAIN, (0x9100, 20), (0x8100, 10)),
    "thrice": tagged(PLAIN, (0x88A8, 30), (0x8100, 20), (0x8100, 10)),
}
OURS = "host 10.0.0.1"


@pytest.mark.parametrize("expression", ["port port", "(", "host", "x" * 5_000])
def test_what_is_no_expression(expression: str) -> None:
    with pytest.raises(ValueError, match=r"^filter: '") as error:
        compiled(expression, "nosuch0")
    assert expression[:20] in str(error.value)


def test_nothing_lets_everything_in() -> None:
    assert compiled("", "nosuch0") == []


@WIRE
def test_no_such_interface() -> None:
    with pytest.raises(OSError, match="No such device") as error:
        compiled(OURS, "nosuch0")
    assert error.value.filename == "nosuch0"


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


@pytest.fixture
def tunnel(pair: Pair) -> Iterator[subprocess.Popen[str]]:
    command = ["ip", "netns", "exec", pair.namespace, sys.executable, "-c", TUNNEL]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        pair.sh("echo 1 > /proc/sys/net/ipv6/conf/tun0/disable_ipv6")
        yield process
        assert process.stdin
        process.stdin.close()


@pytest.mark.parametrize(
    ("expression", "let_in"),
    [
        (OURS, {"plain", "10", "10 in 20", "10 in 0x9100"}),
        ("tcp port 443", {"plain", "10", "10 in 20", "10 in 0x9100"}),
        (f"not {OURS}", set()),
        ("host 192.0.2.99", set()),
        ("not host 192.0.2.99", {"plain", "10", "10 in 20", "10 in 0x9100"}),
        ("vlan 10", {"10"}),
        ("vlan", {"10", "10 in 20", "10 in 0x9100", "thrice"}),
        (f"vlan 10 and {OURS}", {"10"}),
        (f"vlan 20 and vlan 10 and {OURS}", {"10 in 20", "10 in 0x9100"}),
        ("not vlan", {"plain"}),
    ],
)
@ENGINES
@WIRE
def test_tags(pair: Pair, engine: str, expression: str, let_in: set[str]) -> None:
    with pair.watch("--json", "--engine", engine, "--filter", expression) as watch:
        # So many of each that their sum says which they were.
        for number, frame in enumerate(FRAMES.values()):
            copies = 4**number
            pair.send(frame[:-1] + bytes([at]) for at in range(copies))
        assert watch.stop() == 0
    assert watch.total("packets") == sum(4**at for at, name in enumerate(FRAMES) if name in let_in)


@pytest.mark.parametrize(
    ("expression", "let_in"), [(OURS, 3), ("tcp port 443", 3), (f"not {OURS}", 0), ("udp", 0), ("", 3)]
)
@ENGINES
@WIRE
def test_no_ethernet(
    pair: Pair, tunnel: subprocess.Popen[str], engine: str, expression: str, let_in: int
) -> None:
    assert tunnel.stdin
    assert tunnel.stdout
    with pair.watch("tun0", "--json", "--engine", engine, "--filter", expression) as watch:
        for at in range(3):
            print((PACKET[:-1] + bytes([at])).hex(), file=tunnel.stdin, flush=True)
            tunnel.stdout.readline()
        assert watch.stop() == 0
    assert watch.total("packets") == let_in


@ENGINES
@WIRE
def test_an_expression_that_an_interface_has_no_layer_for(
    pair: Pair, tunnel: subprocess.Popen[str], engine: str
) -> None:
    with (
        pytest.raises(AssertionError, match=r"filter: 'vlan 10'.*"),
        pair.watch("tun0", "--engine", engine, "--filter", "vlan 10"),
    ):
        pass

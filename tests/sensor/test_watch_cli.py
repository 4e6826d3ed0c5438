"""`aiscope watch` on a wire: what was sent is counted, named and delivered, whatever happens meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from scapy.layers.dns import DNS, DNSQR, DNSRR

from sensor.delivery.outbox import status
from sensor.packets.capture import frames
from sensor.packets.evidence_ring import ring_files
from sensor.packets_cli import packets
from tests.ports import free_port
from tests.sensor.packets.build import RST, Talk, ethernet, ipv4, tcp, udp
from tests.sensor.packets.conftest import installed
from tests.sensor.wire.samples import openssl_hello
from tests.sensor.wire_pair import Pair, reason_to_skip

pytestmark = [pytest.mark.timeout(60), pytest.mark.skipif(bool(why := reason_to_skip()), reason=why)]
ENGINES = pytest.mark.parametrize("engine", installed())
NATIVE = pytest.mark.skipif("native" not in installed(), reason="the native engine is not installed")
ROOT = Path(__file__).parents[2]
HELLO = openssl_hello("api.openai.com")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def use(number: int = 0, hello: bytes = HELLO, isn: int = 1_000) -> list[bytes]:
    """One connection to a service, whole. Packets of one connection have an identification each."""
    talk = (
        Talk(sport=40_000 + number, isn=isn + number)
        .hands()
        .up(hello)
        .down(b"\x16\3\3\0\2ab")
        .up(b"x" * 50)
        .bye()
    )
    return [one.data[:18] + struct.pack(">H", 1 + at) + one.data[20:] for at, one in enumerate(talk.frames)]


def tagged(frame: bytes, vlan: int) -> bytes:
    return frame[:12] + struct.pack(">HH", 0x8100, vlan) + frame[12:]


def flat(lists: list[list[bytes]]) -> list[bytes]:
    return [one for some in lists for one in some]


@ENGINES
def test_everything_is_counted_and_use_is_named(pair: Pair, engine: str) -> None:
    with pair.watch("--json", "--engine", engine) as watch:
        sent = pair.send(flat([use(number) for number in range(30)]), pause=0.0005)
        assert watch.stop() == 0
    rows = watch.table("connections")
    assert {(row["service"], row["protocol"], row["evidence"] in ("sni", "flow")) for row in rows} == {
        ("openai-api", "tls", True)
    }
    assert sum(row["first"] for row in rows) == 30
    assert watch.total("packets") == sent
    assert watch.total("dropped_kernel") == 0
    assert f"{sent:,} packets read, 0 of them duplicates, 0 more dropped by the kernel" in watch.said
    now = time.time()
    stats = watch.table("sensor_stats")[-1]
    assert stats["engine"] == engine
    assert stats["end_time"][:13] in (time.strftime("%Y-%m-%dT%H", time.gmtime(now - s)) for s in (0, 60))


@ENGINES
def test_tags_the_kernel_took_off_are_back(pair: Pair, engine: str) -> None:
    with pair.watch("--json", "--engine", engine, "--filter", "tcp port 443") as watch:
        sent = pair.send(tagged(one, 42) for one in use())
        pair.send(ethernet(ipv4(udp(b"no", 40_000, 9_999), 17)) for _ in range(10))
        assert watch.stop(signal.SIGINT) == 0
    assert [row["vlan"] for row in watch.table("connections")] == [42]
    assert watch.total("packets") == sent


@ENGINES
def test_both_copies_of_a_packet(pair: Pair, engine: str) -> None:
    slow = {"AISCOPE_LIMITS_DUPLICATE_NS": "1000000000"}  # the sender may be held up between the two
    with pair.watch("--json", "--engine", engine, env=slow) as watch:
        sent = pair.send(flat([[one, one] for one in use()]))
        watch.stop()
    assert watch.total("packets") == watch.total("duplicates") == sent // 2
    assert sum(row["packets_up"] + row["packets_down"] for row in watch.table("connections")) == sent // 2
    assert f"{sent} packets read, {sent // 2} of them duplicates, 0 more dropped by the kernel" in watch.said


def test_a_mirror_that_loses_a_direction_and_finds_it_again(pair: Pair) -> None:
    with pair.watch("--json") as watch:
        pair.send(flat([use(number) for number in range(30)]))
        pair.send(one for number in range(30, 75) for one in use(number) if one[26:30] == b"\x0a\0\0\1")
        pair.send(ethernet(ipv4(tcp(sport=40_000 + number, flags=RST), 6)) for number in range(75))
        time.sleep(2.5)  # longer than from one sweep to the next
        pair.send(flat([use(number) for number in range(100, 150)]))
        pair.send(ethernet(ipv4(tcp(sport=40_000 + number, flags=RST), 6)) for number in range(100, 150))
        watch.stop(pause=6.5)  # until they are closed for good
    assert "connections comes by: the mirror is one-way; their other direction is not guessed" in watch.said
    assert watch.said.count("both directions come by again") == 1
    assert "45 of 125 connections in one direction only" in watch.said
    assert [row["rule"] for row in watch.table("findings")] == ["one-way-mirror"]
    assert {
        row["packets_down"] == 0 for row in watch.table("connections") if row["client_port"] < 40_075
    } == {True, False}


@ENGINES
def test_down_up_and_another_mtu(pair: Pair, engine: str) -> None:
    with pair.watch("--json", "--engine", engine) as watch:
        sent = pair.send(use())
        pair.ip("link", "set", pair.here, "down")
        watch.says("Network is down")
        pair.ip("link", "set", pair.here, "up")
        for name in (pair.here, pair.there):
            pair.ip("link", "set", name, "mtu", "9000")
        time.sleep(0.3)
        sent += pair.send(use(1, openssl_hello("api.anthropic.com")))
        sent += pair.send([ethernet(ipv4(udp(bytes(8_000), 40_000, 9_999), 17))])
        watch.says("is up")
        assert watch.stop() == 0
    assert watch.said.splitlines()[1:3] == [
        f"aiscope: {pair.here}: Network is down",
        f"aiscope: {pair.here} is up",
    ]
    assert {row["service"] for row in watch.table("connections")} == {"openai-api", "claude-api"}
    assert watch.total("packets") == sent


def test_an_interface_that_is_named_anew(pair: Pair) -> None:
    """As udev does it, while it is down. It is the same one."""
    with pair.watch("--json") as watch:
        for times, before, after in ((1, pair.here, "other0"), (2, "other0", pair.here)):
            pair.ip("link", "set", before, "down")
            watch.says(f"{pair.here}: Network is down\n", times)
            pair.ip("link", "set", before, "name", after)
            pair.ip("link", "set", after, "up")
            watch.says(f"{pair.here} is up\n", times)
        sent = pair.send(use())
        assert watch.stop() == 0
    assert watch.total("packets") == sent


def test_the_largest_ring_of_the_portable_engine(pair: Pair) -> None:
    """The settings' maximum: the kernel gives a socket less."""
    with pair.watch("--json", "--engine", "portable", env={"AISCOPE_WATCH_RING": str(4 << 30)}) as watch:
        sent = pair.send(use())
        assert watch.stop() == 0
    assert watch.total("packets") == sent


@ENGINES
def test_an_interface_that_is_not_up_yet(pair: Pair, engine: str) -> None:
    pair.ip("link", "set", pair.here, "down")
    try:
        with pair.watch("--json", "--engine", engine) as watch:
            watch.says("Network is down")
            pair.ip("link", "set", pair.here, "up")
            watch.says("is up")
            sent = pair.send(use())
            assert watch.stop() == 0
    finally:
        pair.ip("link", "set", pair.here, "up")
    assert watch.said.count(f"{pair.here}: Network is down\n") == 1
    assert watch.said.count(f"{pair.here} is up\n") == 1
    assert watch.total("packets") == sent


@ENGINES
def test_drops_are_the_difference(pair: Pair, engine: str) -> None:
    ring = {"AISCOPE_WATCH_RING": str(4 << 20)}
    with pair.watch("--json", "--engine", engine, env=ring) as watch:
        watch.tell(signal.SIGSTOP)
        sent = pair.send([ethernet(ipv4(udp(bytes(1_400), 40_000, 9_999), 17))] * 80_000)
        watch.tell(signal.SIGCONT)
        watch.stop(pause=1.5)
    assert watch.total("dropped_kernel") > 0
    assert watch.total("packets") + watch.total("dropped_kernel") == sent
    assert "packets dropped by the kernel so far" in watch.said
    read, dropped = watch.total("packets"), watch.total("dropped_kernel")
    assert f"{read:,} packets read, 0 of them duplicates, {dropped:,} more dropped" in watch.said


def test_another_user_without_capabilities(pair: Pair) -> None:
    with pair.watch("--json", "--user", "nobody") as watch:
        threads = powers(watch.pid)
        pair.send(use())
        assert watch.stop() == 0
    assert threads == {("65534", 0, 0, "1")}
    assert len(watch.table("connections")) == 1
    assert "as nobody, without capabilities" in watch.said


@pytest.mark.parametrize("where", ["--spool", "http"])
def test_what_rows_need_is_loaded_while_it_can_be(pair: Pair, where: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.chown(folder, "nobody")
        rows = Path(folder) / "rows.spool"
        env = {"HOME": folder, "XDG_DATA_HOME": folder, "AISCOPE_SENSOR_NAMES_KEY": f"{folder}/key"}
        if where == "http":
            env |= {
                "AISCOPE_SPOOL_PATH": str(rows),
                "AISCOPE_STORE_URL": f"http://x@localhost:{free_port()}/",
            }
        arguments = ["--spool", str(rows)] if where == "--spool" else []
        with pair.watch("--user", "nobody", *arguments, env=env, first=CLOSED) as watch:
            threads = powers(watch.pid)
            pair.send(use())
            assert watch.stop() == 0, watch.said
        assert status(rows).rows == 2
    assert threads == {("65534", 0, 0, "1")}
    assert "Traceback" not in watch.said


# Whom it becomes can read nothing that is imported after that.
CLOSED = """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter
from sensor import watch_privileges
def drop(user, drop=watch_privileges.drop):
    drop(user)
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder in (BuiltinImporter, FrozenImporter)]
watch_privileges.drop = drop
"""


def test_one_capability_is_enough(pair: Pair) -> None:
    only = ("setpriv", "--bounding-set", "-all,+net_raw", "--inh-caps", "-all", "--")
    with pair.watch("--json", "--user", "root", prefix=only) as watch:
        threads = powers(watch.pid)
        pair.send(use())
        assert watch.stop() == 0
    assert threads == {("0", 0, 0, "1")}
    assert len(watch.table("connections")) == 1


def powers(pid: int) -> set[tuple[str, int, int, str]]:
    """User, permitted and effective capabilities and no_new_privs of every thread."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = dict(
            line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line
        )
        user = lines["Uid"].split()[1]
        found.add((user, int(lines["CapPrm"], 16), int(lines["CapEff"], 16), lines["NoNewPrivs"].strip()))
    return found


def test_another_catalogue_at_sighup(pair: Pair, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    with pair.watch("--json", env={"AISCOPE_CATALOGUE_OVERRIDES": str(mine)}) as watch:
        hello = openssl_hello("models.example.org")
        pair.send(use(1, hello))
        (mine / "own.yaml").write_text(OWN)
        watch.tell(signal.SIGHUP, pause=1.5)
        pair.send(use(2, hello))
        (mine / "own.yaml").write_text("vendor: [")
        watch.tell(signal.SIGHUP, pause=1.5)
        pair.send(use(3, hello))
        assert watch.stop() == 0
    assert [(row["service"], row["client_port"]) for row in watch.table("connections")] == [
        ("own-models", 40_002),
        ("own-models", 40_003),
    ]
    assert "the catalogue stays as it is" in watch.said


OWN = """
vendor: own
name: Our own
country: DE
services:
  - id: own-models
    name: Own models
    category: self-hosted
    description: Models of our own
    hosts:
      api: [models.example.org]
    sources: [https://example.org]
    checked: 2026-11-22
    fires: [models.example.org]
    silent: [example.org]
"""


@pytest.mark.parametrize("terminal", [False, True])
def test_nobody_reads_what_it_says(pair: Pair, terminal: bool) -> None:
    with pair.watch("--json", terminal=terminal) as watch:
        sent = pair.send(use()[:-3])  # it stays open
        watch.lose()
        watch.tell(signal.SIGHUP, pause=1.5)  # a line for each
        sent += pair.send(use(1)[:-3])
        assert watch.stop() == 0
    assert {row["client_port"] for row in watch.table("connections")} == {40_000, 40_001}
    assert watch.total("packets") == sent


def test_whatever_ends_it_open_connections_are_reported(pair: Pair) -> None:
    fault = "from sensor.watch_run import Watching\ndef reload(self): raise OSError('broken')\n"
    with pair.watch("--json", first=f"{fault}Watching._reload = reload\n") as watch:
        sent = pair.send(use()[:-3])
        assert watch.stop(signal.SIGHUP) == 1
    assert [row["service"] for row in watch.table("connections")] == ["openai-api"]
    assert watch.total("packets") == sent
    assert "aiscope: broken" in watch.said


def test_a_reader_that_takes_no_rows(pair: Pair) -> None:
    with pair.watch("--json") as watch:
        pair.send(flat([use(number) for number in range(300)]), pause=0.0005)
        watch.tell(signal.SIGTERM)
        assert watch.wait() == 1


def test_sighup_while_it_begins(pair: Pair, tmp_path: Path) -> None:
    config = tmp_path / "aiscope.toml"
    os.mkfifo(config)

    def hang_up() -> None:
        with config.open("w"):  # it reads its settings
            found = subprocess.check_output(["ip", "netns", "pids", pair.namespace], text=True)
            os.kill(int(found), signal.SIGHUP)

    threading.Thread(target=hang_up).start()
    with pair.watch("--json", env={"AISCOPE_CONFIG": str(config)}) as watch:
        assert watch.stop() == 0
    assert "aiscope: catalogue " in watch.said


def test_an_interface_that_goes_away() -> None:
    pair = Pair()
    try:
        with pair.watch("--json") as watch:
            sent = pair.send(use())
            pair.ip("link", "del", pair.there)
            assert watch.wait() == 1
            watch.stop()
    finally:
        pair.close()
    assert "here0 was removed" in watch.said
    assert "no interface is left" in watch.said
    assert watch.total("packets") == sent


def test_an_interface_that_goes_away_and_comes_back() -> None:
    """Through another namespace, with its number; a socket is bound to it no more."""
    pair, elsewhere = Pair(), Pair()
    try:
        pair.ip("link", "add", "here1", "type", "veth", "peer", "name", "there1")
        pair.ip("link", "set", "here1", "up")
        with pair.watch("here1", "--json") as watch:
            pair.ip("link", "set", "here1", "netns", elsewhere.namespace)
            watch.says("here1 was removed")
            elsewhere.ip("link", "set", "here1", "netns", pair.namespace)
            pair.ip("link", "set", "here1", "up")
            assert watch.stop(pause=1.5) == 0
    finally:
        pair.close()
        elsewhere.close()
    assert "here1 is up" not in watch.said


def test_everything_only_where_the_settings_allow_it(pair: Pair) -> None:
    with pytest.raises(AssertionError, match="allow it first"), pair.watch("--json", "--all"):
        pass
    with pair.watch("--json", "--all", env={"AISCOPE_WATCH_ALLOW_ALL": "true"}) as watch:
        pair.send(use(0, openssl_hello("intranet.example.org")))
        watch.stop()
    assert [row["server_name"] for row in watch.table("connections")] == ["intranet.example.org"]
    (recorded,) = watch.table("findings")
    assert (recorded["rule"], recorded["tags"]) == ("watch-all", ["sensor", "audit"])


@NATIVE
def test_sensors_in_containers_share_nothing(pair: Pair) -> None:
    """Each has the number 1 there, and both are on the host's network."""
    alone = ("unshare", "--pid", "--fork")
    options = ("--json", "--workers", "2")
    with pair.watch(*options, prefix=alone) as one, pair.watch(*options, prefix=alone) as other:
        sent = pair.send(flat([use(number) for number in range(20)]))
        time.sleep(0.3)
        for watch in (one, other):
            (inside,) = Path(f"/proc/{watch.pid}/task/{watch.pid}/children").read_text().split()
            os.kill(int(inside), signal.SIGTERM)
            assert watch.stop(0, pause=0) == 0
            assert watch.total("packets") == sent


@NATIVE
def test_workers_share_what_they_learn(pair: Pair) -> None:
    """A flow has one worker, whichever way its packets go; a name from DNS is known to all of them."""
    answers = [answer(f"10.0.1.{client}", f"192.0.2.{client}") for client in range(1, 33)]
    with pair.watch("--json", "--workers", "4") as watch:
        sent = pair.send(answers)
        time.sleep(0.3)
        for client in range(1, 33):
            talk = (
                Talk(f"10.0.1.{client}", f"192.0.2.{client}")
                .hands()
                .up(b"?" * 30)
                .down(b"!" * 30)
                .up(b"?")
                .bye()
            )
            sent += pair.send(one.data for one in talk.frames)
        watch.stop()
    rows = watch.table("connections")
    assert len(rows) == 32
    assert {(row["service"], row["name_source"], row["packets_up"], row["packets_down"]) for row in rows} == {
        ("openai-api", "dns", 6, 3)
    }
    assert watch.total("packets") == sent


def answer(client: str, address: str) -> bytes:
    reply = DNS(
        id=1,
        qr=1,
        qd=DNSQR(qname="api.openai.com"),
        an=DNSRR(rrname="api.openai.com", rdata=address, ttl=300),
    )
    return ethernet(ipv4(udp(bytes(reply), 53, 40_000), 17, "10.9.9.9", client))


@NATIVE
def test_into_a_store_of_this_machine_and_into_a_spool(pair: Pair, tmp_path: Path) -> None:
    spool = tmp_path / "rows.spool"
    with (
        pair.watch("--store", str(tmp_path / "store")) as stored,
        pair.watch("--spool", str(spool)) as spooled,
    ):
        pair.send(use())
        assert (stored.stop(), spooled.stop()) == (0, 0)
    query = "SELECT service, sum(bytes_up) FROM connections GROUP BY service"
    command = [sys.executable, "-m", "sensor.cli", "sql", "--store", f"chdb://{tmp_path / 'store'}", query]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}  # another process: this one may have another store open
    found = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[1].split() == ["openai-api", str(len(HELLO) + 50)]
    assert status(spool).rows == 2  # the connection and the statistics


def test_an_interface_with_two_names_is_one(pair: Pair) -> None:
    pair.ip("link", "property", "add", "dev", pair.here, "altname", "mirror")
    with pair.watch(pair.here, "mirror", "--json") as watch:
        sent = pair.send(use())
        assert watch.stop() == 0
    assert f"watching {pair.here}: " in watch.said
    assert watch.total("packets") == sent


def test_what_cannot_be_watched(pair: Pair) -> None:
    with pytest.raises(AssertionError, match="aiscope: an interface's name is empty"), pair.watch(""):
        pass
    pair.here, here = "nosuch0", pair.here
    try:
        with pytest.raises(AssertionError, match="aiscope: nosuch0: No such device"), pair.watch("--json"):
            pass
    finally:
        pair.here = here
    with pytest.raises(AssertionError, match="filter"), pair.watch("--json", "--filter", "no such word"):
        pass
    nobody = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--")
    watch = pair.watch("--json", "--user", "root", prefix=nobody)
    with pytest.raises(AssertionError, match="needs root or the capability CAP_NET_RAW"), watch:
        pass


@ENGINES
def test_first_packets_are_kept_and_shown(pair: Pair, engine: str, tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    kept = {"AISCOPE_WATCH_EVIDENCE": str(folder), "AISCOPE_WATCH_EVIDENCE_PACKETS": "6"}
    with pair.watch("--json", "--engine", engine, env=kept) as watch:
        pair.send(use() + use(1, openssl_hello("intranet.example.org")) + use(2))
        watch.stop()
    first, _ = sorted(watch.table("connections"), key=lambda row: row["client_port"])
    assert first["client_port"] == 40_000
    assert [frame.data[:14] for batch in frames(ring_files(folder)[0]) for frame in batch] == [
        use()[0][:14]
    ] * 12
    assert folder.stat().st_mode & 0o077 == 0
    shown = CliRunner().invoke(packets, [first["flow_id"], "--evidence", str(folder), "-v"])
    assert shown.exit_code == 0, shown.output
    lines = [line for line in shown.output.splitlines() if line[:3].strip().isdecimal()]
    assert len(lines) == 6
    assert "10.0.0.1 -> 192.0.2.1 TLS" in lines[3]
    assert "api.openai.com" in shown.output
    assert CliRunner().invoke(packets, ["1:" + "A" * 27 + "=", "--evidence", str(folder)]).exit_code == 1


def test_a_disk_without_room_for_first_packets(pair: Pair, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # a place that was there before
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", tmp_path], check=True)
    try:
        (tmp_path / "room").write_bytes(bytes(64 << 10))
        with pair.watch("--json", env={"AISCOPE_WATCH_EVIDENCE": str(tmp_path)}) as watch:
            pair.send(use())
            assert watch.stop() == 0
        assert not ring_files(tmp_path)
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)
    assert len(watch.table("connections")) == 1
    assert f"{len(use())} first packets not kept so far: No space left on device" in watch.said
    assert f", {len(use())} first packets not kept" in watch.said.splitlines()[-1]
    assert f"{tmp_path}: others can look into this folder" in watch.said


def test_a_disk_without_room_for_the_last_rows(pair: Pair, tmp_path: Path) -> None:
    """Exit code 0 says that nothing is lost."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
    try:
        with pair.watch("--spool", str(disk / "rows.spool")) as watch:
            with suppress(OSError):
                (disk / "room").write_bytes(bytes(256 << 10))
            pair.send(flat([use(number) for number in range(300)]))
            assert watch.stop() == 1
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
    *_, lost, farewell, ended = watch.said.splitlines()
    assert "rows could not be written and are lost" in lost
    assert " packets read, " in farewell
    assert ended == "aiscope: the last rows are lost"


@ENGINES
def test_first_packets_of_each_use_and_of_nothing_else(pair: Pair, engine: str, tmp_path: Path) -> None:
    env = {"AISCOPE_WATCH_EVIDENCE": str(tmp_path), "AISCOPE_WATCH_EVIDENCE_PACKETS": "5"}
    other = openssl_hello("intranet.example.org")
    with pair.watch(
        "--json", "--engine", engine, "--all", env=env | {"AISCOPE_WATCH_ALLOW_ALL": "true"}
    ) as watch:
        pair.send(use())
        pair.send(again := use(isn=9_000))
        pair.send(use(1, other))
        pair.send(open_yet := use(2)[:4])
        assert watch.stop() == 0
    assert len(watch.table("connections")) == 4
    found = [frame.data for path in ring_files(tmp_path) for batch in frames(path) for frame in batch]
    assert found == [*use()[:5], *again[:5], *open_yet]

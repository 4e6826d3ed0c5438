"""`make bench`: engines, the whole command, and the peers that are installed, on the same captures.

Writes `docs/performance.md`. Seconds are this machine's; what is meant to hold elsewhere are the ratios.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT)]
os.environ["PYTHONPATH"] = str(ROOT)

import live  # noqa: E402
from measure import LONG, Command, Cost, rounds, run, warm  # noqa: E402

BENCH = Path(os.environ.pop("AISCOPE_BENCH", ROOT / ".bench"))  # no setting: commands would refuse it
SHARED = ROOT.parent / "shared" / "bench" / "generate.py"
TOOLS = BENCH / "tools"
READ = [sys.executable, "-m", "sensor.cli", "read", "--no-store", "--engine"]
ENGINE = [sys.executable, HERE / "engine_loop.py"]
ROUNDS = 5
TIMES = (1, 4, 16)
PARTS = {"mix": "4", "hs": "1"}  # of a capture; the copies have to be in the page cache together
LATER = "700"  # seconds from one copy to the next
CONCURRENT = 1_000_000
WORKERS, TWICE = "`aiscope read --workers 2`", "two at once"


_COLUMNS = ("tool", "wall s", "CPU s", "Mpps", "Gbit/s", "peak MiB")
_COLUMNS += ("TLS names", "QUIC names", "DNS questions", "CPU against `aiscope read`")


@dataclass(frozen=True, slots=True)
class Row:
    """One tool on one capture."""

    tool: str
    cost: Cost
    names: tuple[int, int, int] | None = None  # TLS, QUIC, DNS questions


def main() -> None:
    BENCH.mkdir(exist_ok=True)
    subprocess.run(["gcc", "-O3", "-o", TOOLS, HERE / "tools.c"], check=True)
    parts = [_head()]
    for kind in ("mix", "hs"):
        file = capture(kind)
        truth = json.loads(Path(f"{file}.truth.json").read_text())
        parts.append(_table(kind, truth, list(_rows(file))))
    parts += [_growth(), _memory(), _lookups(), _live(capture("hs"))]
    (ROOT / "docs" / "performance.md").write_text("\n".join(parts), "utf-8")


def capture(kind: str) -> Path:
    """The shared generator's, where there is one, else our own."""
    file = BENCH / f"{kind}.pcap"
    if not Path(f"{file}.truth.json").exists():
        _say(f"generating {file.name}")
        generator = SHARED if SHARED.exists() else HERE / "capture.py"
        subprocess.run([sys.executable, generator, kind, file], check=True, stdout=subprocess.DEVNULL)
    return file


def _rows(file: Path) -> Iterator[Row]:
    tools = {tool: (command, counting) for tool, command, counting in (*_ours(file), *_peers(file))}
    commands = {tool: command for tool, (command, _) in tools.items()}
    costs = rounds(commands, ROUNDS, before=lambda _: warm(file))
    counted: dict[str, tuple[int, int, int]] = {}
    for tool, cost in costs.items():
        counting = tools[tool][1]
        key = str(counting)  # several of ours are counted by the same run
        if counting and key not in counted:
            counted[key] = _names(counting)
        yield Row(tool, cost, counted[key] if counting else _printed(cost.said))


def _printed(said: str) -> tuple[int, int, int] | None:
    words = said.split()
    if len(words) != 3 or not all(word.isdigit() for word in words):
        return None
    return int(words[0]), int(words[1]), int(words[2])


Measured = Iterator[tuple[str, Command, Command | None]]


def _ours(file: Path) -> Measured:
    """What is called how, its command, and what counts its names when that does not print them."""
    yield "C floor: parse and count flows", [TOOLS, "floor", file], None
    yield "C floor that reads, not maps", [TOOLS, "floor-read", file], None
    for engine in ("native", "portable") if file.stem == "hs" else ("native",):  # the larger takes minutes
        names = [*ENGINE, engine, file, "all"]
        yield f"engine alone, {engine}", [*ENGINE, engine, file], names
        if engine == "native":
            yield f"engine alone, {engine}, 2 workers", [*ENGINE, engine, file, "2"], names
        yield f"`aiscope read`, {engine}", [*READ, engine, file], names
        if engine == "native":
            yield f"{WORKERS}, {engine}", [*READ, engine, "--workers", "2", file], names
            one = shlex.join(map(str, [*READ, engine, file]))
            yield TWICE, ["sh", "-c", f"{one} >/dev/null & {one} >/dev/null && wait $!"], None


def _peers(file: Path) -> Measured:
    yield "dpkt, the natural loop", [sys.executable, HERE / "dpkt_loop.py", file], None
    for package, script in (("mercury-python", "mercury_loop.py"), ("nfstream", "nfstream_loop.py")):
        if python := _environment(package):
            yield package, [python, HERE / script, file], None
    if shutil.which("ndpiReader"):
        named = _counted(["ndpiReader", "-v", "2", "-i", file], "ndpi")
        yield "nDPI (ndpiReader)", ["ndpiReader", "-q", "-i", file], named
    if shutil.which("mercury"):
        named = ["--select=tls,quic,dns", "--reassembly", "--dns-json", "-r", file]
        yield "mercury", ["mercury", *named, "-f", "/dev/null"], _counted(["mercury", *named], "mercury")
    if shutil.which("tshark"):
        fields = [
            "-e",
            "tls.handshake.extensions_server_name",
            "-e",
            "quic.version",
            "-e",
            "dns.flags.response",
        ]
        command = ["tshark", "-n", "-r", file, "-Y", "tls.handshake.type==1 or dns", "-T", "fields", *fields]
        yield "tshark, fields", _counted(command, "tshark"), None
    out = BENCH / "flows"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    for tool, command in (
        ("argus", ["argus", "-r", file, "-w", out / "argus"]),
        ("nfpcapd", ["nfpcapd", "-r", file, "-w" if _new_nfdump() else "-l", out]),
        ("softflowd", ["softflowd", "-r", file, "-n", "127.0.0.1:9", "-m", "1000000", "-d"]),
    ):
        if shutil.which(tool):
            yield f"{tool} (no names)", command, None


def _counted(command: Command, peer: str) -> Command:
    """The command with its output counted."""
    counting = [sys.executable, HERE / "count_names.py", peer]
    return ["sh", "-c", f"{shlex.join(map(str, command))} 2>/dev/null | {shlex.join(map(str, counting))}"]


def _new_nfdump() -> bool:
    said = subprocess.run(["nfpcapd", "-h"], capture_output=True, text=True, check=False)
    return "-w flowdir" in said.stdout + said.stderr


def _environment(package: str) -> Path | None:
    """A Python of its own with a peer in it, made when it is missing; None where it cannot be installed."""
    home = BENCH / f"venv-{package}"
    python = home / "bin" / "python"
    if not python.exists():
        _say(f"installing {package}")
        venv.create(home, with_pip=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "-q", package], capture_output=True, check=False
        )
        if done.returncode:
            shutil.rmtree(home)
    return python if python.exists() else None


def _names(command: Command) -> tuple[int, int, int]:
    tls, quic, dns = run(command, runs=1).said.split()[-3:]
    return int(tls), int(quic), int(dns)


def _table(kind: str, truth: dict[str, int], rows: list[Row]) -> str:
    packets, octets = truth["packets"], truth["wire_bytes"]
    wanted = truth["tls_sni"], truth["quic_flows"], truth["dns_pairs"]
    costs = {row.tool: row.cost for row in rows}
    ours = costs["`aiscope read`, native"]
    out = [
        f"\n## `{kind}`: {packets:,} packets, {octets / 1e9:.2f} GB, {truth['flows']:,} flows\n",
        f"| {' | '.join(_COLUMNS)} |",
        "|---" * len(_COLUMNS) + "|",
    ]
    for row in (row for row in rows if row.tool != TWICE):
        cost, got = row.cost, row.names or (-1, -1, -1)
        names = [f"{n / of:.1%}" if of and n >= 0 else "-" for n, of in zip(got, wanted, strict=True)]
        figures = [
            f"{cost.wall:.2f}{'' if cost.runs > 1 else ' (one run)'}",
            f"{cost.cpu:.2f}",
            f"{packets / cost.cpu / 1e6:.2f}",
            f"{octets * 8 / cost.cpu / 1e9:.1f}",
            f"{cost.rss:,.0f}",
            *names,
            f"{cost.cpu / ours.cpu:.2f}",
        ]
        out.append(f"| {row.tool} | {' | '.join(figures)} |")
    return "\n".join([*out, "", _second(ours, costs[f"{WORKERS}, native"], costs[TWICE])]) + "\n"


def _second(one: Cost, workers: Cost, two: Cost) -> str:
    """What two workers gain, beside what a second processor is worth at the time: nothing can gain more."""
    return (
        f"{WORKERS} was {one.wall / workers.wall:.2f} times as fast as `aiscope read`. Two of `aiscope read` at once, "
        f"which share nothing, took {two.wall / one.wall:.2f} times as long as one: a second processor was worth "
        f"{2 * one.wall / two.wall:.2f} here and then."
    )


def _growth() -> str:
    """The same captures once, four and sixteen times after each other."""
    out = [
        "\n## Longer captures\n",
        "A capture so many times after each other, of `mix` its first quarter; engine alone, native.\n",
        "| capture | times | packets | CPU s | Mpps | peak MiB |",
        "|---|---|---|---|---|---|",
    ]
    for kind, part in PARTS.items():
        files = {f"{kind}, {times} times": _copies(kind, part, times) for times in TIMES}
        commands = {name: [*ENGINE, "native", file] for name, file in files.items()}
        costs = rounds(commands, ROUNDS, before=lambda name, files=files: warm(files[name]))
        for times, cost in zip(TIMES, costs.values(), strict=True):
            packets = int(cost.said.split()[2])
            rate = packets / cost.cpu / 1e6
            out.append(
                f"| `{kind}` | {times} | {packets:,} | {cost.cpu:.2f} | {rate:.2f} | {cost.rss:,.0f} |"
            )
        for file in files.values():
            file.unlink()
    return "\n".join(out) + "\n"


def _copies(kind: str, part: str, times: int) -> Path:
    file = BENCH / f"longer-{times}.pcap"
    _say(f"writing {kind}, {times} times")
    with file.open("wb") as copies:
        subprocess.run([TOOLS, "loop", capture(kind), str(times), LATER, part], stdout=copies, check=True)
    return file


def _memory() -> str:
    _say("open connections")
    empty = run([*ENGINE, "native", "/dev/stdin"], 1, [TOOLS, "flows", "1000"])
    cost = run([*ENGINE, "native", "/dev/stdin"], 1, [TOOLS, "flows", str(CONCURRENT)])
    flows = int(cost.said.split()[3])
    return (
        f"\n## Open connections\n\n{flows:,} at once: {cost.rss - empty.rss:,.0f} MiB more than 1,000, "
        f"{(cost.rss - empty.rss) * 2**20 / flows:.0f} bytes each; `Limits` states 600 bytes each, and 64 MiB for "
        "first flights.\n"
    )


def _lookups() -> str:
    from sensor.knowledge.catalogue import load

    catalogue, rounds = load(), 20_000
    text = []
    for about, name in (("known", "api.openai.com"), ("unknown", "www.example-shop.co.uk")):
        start = time.process_time()
        for number in range(rounds):
            catalogue.match(f"x{number}.{name}")
        text.append(f"{(time.process_time() - start) / rounds * 1e6:.1f} µs for a name that is {about}")
    return f"\n## The catalogue\n\nOne lookup, never seen before, in Python: {', '.join(text)}.\n"


def _live(file: Path) -> str:
    if not live.possible():
        return "\n## Live\n\nNot measured: needs root on Linux.\n"
    out = [
        "\n## Live\n",
        f"`aiscope watch` at one end of a veth pair, its ring at the default size; for {live.SECONDS} s a sender",
        "at the other. Sender, wire and sensor share this machine's processors. *arrived* is the interface's",
        "counter, *dropped* the capture socket's, *read* the engine's; what is left is unexplained.\n",
        "| sender | workers | packets/s | sent | arrived | read | dropped | unexplained | sensor's CPU |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    with live.wire():
        for name, command in live.senders(TOOLS, file):
            for workers in (1, 2):
                _say(f"live, {name}, {workers} workers")
                f = live.flood(name, command, workers)
                figures = (f.sent / f.seconds, f.sent, f.arrived, f.read, f.dropped, f.unexplained)
                shown = " | ".join(f"{figure:,.0f}" for figure in figures)
                out.append(f"| {name} | {workers} | {shown} | {f.cpu / f.seconds:.0%} |")
    return "\n".join(out) + "\n"


def _head() -> str:
    about = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    cpu = next((line.partition(": ")[2] for line in about if line.startswith("model name")), "?")
    day, kernel = time.strftime("%Y-%m-%d", time.gmtime()), platform.release().partition("-")[0]
    return f"""# Performance

Written by `make bench` on {day}: {os.cpu_count()} cores of {cpu}, Linux {kernel}, Python {platform.python_version()}.
All in one run, medians of {ROUNDS} rounds in which each tool has its turn, the capture read into the page cache before
each; what takes over {LONG:.0f} s runs once. CPU is user and system time of the process and its children, of an engine
alone without the start of Python; Mpps and Gbit/s are per second of CPU. Peers are measured where they are installed;
mercury, which no package has, where it is on the path.
Names are shares of what the capture holds. `aiscope read` starts Python, loads the catalogue, reads the
hellos of AI connections, computes JA3 and JA4, and prints its summary. Seconds are this machine's, and what
else it did then is in them; ratios are what to look at."""


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

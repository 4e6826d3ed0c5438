"""The benchmark's own captures hold what their truth says, and its floor counts what the engine counts."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sensor.packets.engine import select

BENCH = Path(__file__).parents[2] / "deploy" / "bench"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bench") / "mix.pcap"
    load("capture").main("mix", out, flows=300)
    return out


def engine(*arguments: str | Path) -> list[str]:
    command = [sys.executable, str(BENCH / "engine_loop.py"), select()[0], *map(str, arguments)]
    root = str(BENCH.parents[1])
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": root})
    return done.stdout.split()


def test_every_name_and_every_packet(capture: Path) -> None:
    truth = json.loads(Path(f"{capture}.truth.json").read_text())
    assert engine(capture, "all") == ["300", "0", "300"]
    assert engine(capture)[2:] == [str(truth["packets"]), str(truth["flows"])]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler")
def test_the_floor_and_longer_captures(capture: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-o", tools, BENCH / "tools.c"], check=True)
    truth = json.loads(Path(f"{capture}.truth.json").read_text())
    for floor in ("floor", "floor-read"):
        said = subprocess.run([tools, floor, capture], capture_output=True, text=True, check=True).stdout
        assert said.split() == [str(truth["packets"]), "packets", str(truth["flows"]), "flows"]
    for command, packets, flows in (
        (["loop", capture, "3", "700", "1"], 3 * truth["packets"], 3 * truth["flows"]),
        (["flows", "500"], 1_000, 500),
    ):
        file = tmp_path / "made.pcap"
        with file.open("wb") as out:
            subprocess.run([tools, *command], stdout=out, check=True)
        assert engine(file)[2:] == [str(packets), str(flows)]


def test_what_is_measured() -> None:
    measure = load("measure")
    busy = "x = bytearray(100_000_000)\nwhile __import__('time').process_time() < 0.2: pass\nprint('done')"
    cost = measure.run([sys.executable, "-c", busy], runs=2)
    assert (cost.runs, cost.said) == (2, "done\n")
    assert 0.2 <= cost.cpu < 2
    assert cost.rss > 95
    with pytest.raises(RuntimeError, match="ended with 3"):
        measure.run([sys.executable, "-c", "raise SystemExit(3)"])


def test_rounds_give_each_command_its_turn(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    measure = load("measure")
    log = tmp_path / "log"
    say = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"
    commands = {name: [sys.executable, "-c", say, log, name] for name in "ab"}
    commands["broken"] = [sys.executable, "-c", "raise SystemExit(3)"]
    log.touch()
    costs = measure.rounds(commands, 3, before=lambda name: log.write_text(f"{log.read_text()}-{name[0]}"))
    assert log.read_text() == "-aa-bb-b-aa-bb-aa-bb"
    assert {name: cost.runs for name, cost in costs.items()} == {"a": 3, "b": 3}
    assert "ended with 3" in capsys.readouterr().err

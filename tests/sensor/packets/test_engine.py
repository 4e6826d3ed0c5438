from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sensor import __version__
from sensor.packets import engine
from sensor.packets.capture import Damaged, NotACapture
from sensor.packets.facts import Limits, Totals, Watch
from sensor.packets.portable.engine import PortableEngine
from tests.sensor.packets.build import Talk, run
from tests.sensor.packets.conftest import installed
from tests.sensor.packets.same import told
from tests.sensor.packets.test_capture import pcap

TALK = Talk().hands().up(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").bye()
FILE = pcap(kind="ns", records=tuple((*divmod(one.time, 10**9), one.data, one.length) for one in TALK.frames))


def absent(name: str) -> ModuleType:
    raise ModuleNotFoundError(f"No module named {name!r}")


def test_portable_is_said_to_be_second_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", absent)
    name, why = engine.select("auto")
    assert name == "portable"
    assert "not installed: No module named 'sensor._core'" in why
    with pytest.raises(ImportError, match=r"the native engine is not installed: .*sensor\._core") as refused:
        engine.select("native")
    assert not isinstance(refused.value, ModuleNotFoundError)  # no package that pip could bring


@pytest.mark.parametrize(("built", "said"), [("0.0.9", "0.0.9"), (None, "an earlier version")])
def test_another_versions_engine_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, built: str | None, said: str
) -> None:
    module = ModuleType("sensor._core")
    module.__file__ = "/x/_core.abi3.so"
    if built:
        module.VERSION = built  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sensor._core", module)
    assert engine.select() == (
        "portable",
        f"the native engine is not installed: /x/_core.abi3.so is of {said}, this is aiscope {__version__}: "
        "install it again",
    )


def test_native_is_taken_when_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("sensor._core")
    module.Engine = PortableEngine  # type: ignore[attr-defined]
    monkeypatch.setattr(engine, "native", lambda: module)
    assert engine.select("auto") == ("native", "installed")
    assert engine.select("native") == ("native", "asked for")
    assert isinstance(engine.create("native", Watch(), Limits()), PortableEngine)


def test_what_is_asked_for_is_used() -> None:
    assert engine.select("portable") == ("portable", "asked for")
    with pytest.raises(ValueError, match="one of auto, native, portable"):
        engine.select("fast")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", installed())
def test_facts_of_a_file(tmp_path: Path, name: str, workers: int) -> None:
    path = tmp_path / "capture"
    path.write_bytes(FILE)
    seen: list[tuple[int, int]] = []
    facts = engine.facts(path, Watch(all=True), Limits(), name, lambda *at: seen.append(at), workers)
    found = [fact for batch in facts for fact in batch]
    assert told(found) == told(run(engine.create("portable", Watch(all=True), Limits()), TALK.frames))
    assert seen[-1] == (len(FILE), len(FILE))


@pytest.mark.parametrize("name", installed())
def test_damage_comes_last(tmp_path: Path, name: str) -> None:
    path = tmp_path / "capture"
    path.write_bytes(FILE[:-1])
    found = []
    with pytest.raises(Damaged) as caught:  # noqa: PT012 (what came before it is the point)
        for batch in engine.facts(path, Watch(all=True), Limits(), name):
            found += batch
    assert caught.value.file == str(path)
    assert isinstance(found[-1], Totals)
    assert found[-1].counters["frames"] == len(TALK.frames) - 1
    path.write_bytes(b"no capture")
    with pytest.raises(NotACapture):
        list(engine.facts(path, Watch(all=True), Limits(), name))

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from sensor import config
from sensor.config import SettingsError, load, resolve
from sensor.knowledge.policy_model import VERDICTS
from sensor.packets.facts import Limits
from sensor.settings import Verdict

ROOT = Path(config.__file__).parents[1]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but a test's own."""
    import os

    for name in list(os.environ):
        if name.startswith("AISCOPE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "FILES", (Path("aiscope.toml"), tmp_path / "etc.toml"))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_defaults_need_nothing(tmp_path: Path):
    settings, origins = resolve()
    assert origins == {}
    assert settings.store.url == f"chdb://{tmp_path}/data/aiscope/store"
    assert settings.limits == Limits()
    assert settings.sensor.name


def test_flag_over_environment_over_file_over_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = write(
        tmp_path / "x.toml", '[store]\nurl = "http://file"\n[retention]\nevents = 1\nrollups = 2\naudit = 3\n'
    )
    monkeypatch.setenv("AISCOPE_RETENTION_ROLLUPS", "20")
    monkeypatch.setenv("AISCOPE_RETENTION_AUDIT", "30")
    settings, origins = resolve(file, {"retention.audit": 300, "store.url": None})
    assert settings.store.url == "http://file"
    assert dataclasses.asdict(settings.retention) == {"events": 1, "rollups": 20, "audit": 300, "sealed": 30}
    assert origins["retention.events"] == str(file)
    assert origins["retention.rollups"] == "environment"
    assert origins["retention.audit"] == "flag"
    assert "retention.sealed" not in origins


def test_files_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "etc.toml", "[retention]\nevents = 1\n")
    assert load().retention.events == 1
    write(tmp_path / "aiscope.toml", "[retention]\nevents = 2\n")
    assert load().retention.events == 2
    monkeypatch.setenv("AISCOPE_CONFIG", str(write(tmp_path / "named.toml", "[retention]\nevents = 3\n")))
    assert load().retention.events == 3
    assert load(write(tmp_path / "flag.toml", "[retention]\nevents = 4\n")).retention.events == 4


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[store]\nurll = 'x'", "store.urll: unknown setting, did you mean store.url?"),
        ("[shop]\nurl = 'x'", "shop: unknown setting"),
        ("url = 'x'", "url: unknown setting outside a section"),
        ("[limits]\nflows = 'many'", "limits.flows: Input should be a valid integer"),
        ("[limits]\nflows = 0", "limits.flows: Input should be greater than or equal to 1"),
        ("[limits]\nflowers = 1", "limits.flowers: unknown setting, did you mean limits.flows?"),
        ("[sensor]\nnames = 'open'", "sensor.names: Input should be 'plain' or 'sealed'"),
        ("[retention]\nevents = -1", "retention.events: Input should be greater than or equal to 0"),
        ("[dashboard]\nlisten = 'here'", "dashboard.listen: here: HOST:PORT is wanted"),
        ("[proxy]\nlisten = ':65536'", "proxy.listen: :65536: HOST:PORT is wanted"),
        (
            "[limits]\nflows = 99999999999999999999",
            f"limits.flows: Input should be less than or equal to {2**53}",
        ),
        ("[retention]\nevents = 20001", "retention.events: Input should be less than or equal to 20000"),
        (
            "[spool]\nlimit = 9223372036854775808",
            f"spool.limit: Input should be less than or equal to {2**53}",
        ),
        ("[ship]\nage = nan", "ship.age: Input should be "),
        ("[proxy]\nclosed = ['blok']", "proxy.closed: Input should be 'allow', 'tolerate', "),
        ("[store", "Expected ']'"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(tmp_path: Path, text: str, reason: str):
    file = write(tmp_path / "x.toml", text)
    with pytest.raises(SettingsError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: {reason}")


def test_every_error_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AISCOPE_RETENTION_AUDIT", "x")
    with pytest.raises(SettingsError) as caught:
        load(write(tmp_path / "x.toml", "[store]\nurll = 'x'\n[read]\nengine = 'fast'\n"))
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert any(line.startswith("environment: AISCOPE_RETENTION_AUDIT: ") for line in lines)


@pytest.mark.parametrize(
    "name", ["AISCOPE_STORE_URLL", "AISCOPE_SHOP_URL", "AISCOPE_X", "AISCOPE_STORE__URL"]
)
def test_unknown_variables_are_refused(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, "x")
    with pytest.raises(SettingsError, match=f"environment: {name}: unknown setting"):
        load()


@pytest.mark.parametrize("name", sorted(config.OTHERS - {config.CONFIG}))
def test_variables_of_the_build_and_of_the_tests_are_no_settings(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, "yes")
    assert resolve()[1] == {}


def test_variables_with_lists_paths_and_several_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AISCOPE_SENSOR_RELAYS", "10.0.0.1, 10.1.0.0/16")
    monkeypatch.setenv("AISCOPE_SENSOR_NAMES_KEY", "/k")
    monkeypatch.setenv("AISCOPE_LIMITS_TCP_IDLE_NS", "5")
    settings = load()
    assert settings.sensor.relays == ("10.0.0.1/32", "10.1.0.0/16")
    assert settings.sensor.names_key == Path("/k")
    assert settings.limits == dataclasses.replace(Limits(), tcp_idle_ns=5)


def test_a_network_that_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AISCOPE_SENSOR_RELAYS", "10.0.0.300")
    with pytest.raises(SettingsError, match=r"^environment: AISCOPE_SENSOR_RELAYS: .*10\.0\.0\.300"):
        load()


def test_a_variable_for_a_whole_section_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AISCOPE_STORE", "{")
    with pytest.raises(SettingsError, match=r"^environment: AISCOPE_STORE: unknown setting"):
        load()


def test_a_file_that_is_not_there():
    with pytest.raises(SettingsError, match=r"^none\.toml: No such file or directory$"):
        load(Path("none.toml"))


def test_texts_words_and_paths_need_no_library(tmp_path: Path):
    """What a command line usually sets; anything else about them is validated."""
    code = (
        "import sys; sys.modules['pydantic'] = None; from sensor.config import load\n"
        "found = load(flags={'read.engine': 'native', 'store.url': 'http://h', 'policy.file': 'p.yaml'})\n"
        "print(found.read.engine, found.store.url, repr(found.policy.file))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "native http://h PosixPath('p.yaml')\n"
    with pytest.raises(SettingsError, match=r"^flag: read.engine: Input should be 'auto'"):
        load(flags={"read.engine": "fast"})
    with pytest.raises(SettingsError, match=r"^flag: store.url: Input should be a valid string"):
        load(flags={"store.url": 1})


def test_a_number_within_its_bounds_needs_no_library() -> None:
    assert load(flags={"read.workers": 64}).read.workers == 64
    for value in (0, 65, 1.5):
        with pytest.raises(SettingsError, match=r"read\.workers: Input should be"):
            load(flags={"read.workers": value})


def test_home_is_expanded_in_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AISCOPE_SENSOR_NAMES_KEY", "~/nk.key")
    monkeypatch.setenv("AISCOPE_DLP_WORDS", "~/a.txt, b~.txt")
    monkeypatch.setenv("AISCOPE_PROXY_AUTH", "@~/htpasswd")
    settings = load(write(tmp_path / "x.toml", "[policy]\nfile = '~/policy.yaml'\n"))
    assert settings.sensor.names_key == tmp_path / "nk.key"
    assert settings.policy.file == tmp_path / "policy.yaml"
    assert settings.dlp.words == (f"{tmp_path}/a.txt", "b~.txt")
    assert settings.proxy.auth == f"@{tmp_path}/htpasswd"
    assert load(flags={"proxy.auth": "ldaps:~:x"}).proxy.auth == "ldaps:~:x"


def test_verdicts_are_those_of_a_policy_and_may_be_none(monkeypatch: pytest.MonkeyPatch):
    assert get_args(Verdict) == VERDICTS
    monkeypatch.setenv("AISCOPE_PROXY_CLOSED", "block,coach")
    assert load().proxy.closed == ("block", "coach")
    monkeypatch.setenv("AISCOPE_PROXY_CLOSED", "")
    assert load().proxy.closed == ()


def test_a_file_that_is_not_there_is_named_with_its_setting(tmp_path: Path):
    there = write(tmp_path / "policy.yaml", "")
    settings = load(flags={"policy.file": str(there), "inventory.csv": "nosuch.csv", "ship.ca": "nosuch.pem"})
    config.present(settings, "policy.file", "place.asn_db")
    with pytest.raises(SettingsError, match=r"^inventory.csv: nosuch.csv: no such file or folder$"):
        config.present(settings, "policy.file", "inventory.csv")

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml

from .commands import check_options

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def file() -> dict[str, Any]:
    """With merge keys put in and variables set, as `docker compose config` shows it."""
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    text = re.sub(r"\$\{(\w+):\?[^}]*\}", "eth1", re.sub(r"\$\{(\w+):-([^}]*)\}", r"\2", text))
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_the_compose_specification_accepts_it(file: dict[str, Any]):
    parsed = compose_spec.PyCompose.from_yaml(yaml.safe_dump(file))
    for check in ("networks", "volumes", "secrets"):
        getattr(parsed, f"validate_{check}")()
    assert {"clickhouse", "sensor", "dashboard"} <= set(parsed.service_names())


def test_what_a_service_needs_is_there(file: dict[str, Any]):
    services = file["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        assert set(service.get("secrets", ())) <= set(file["secrets"]), name
        assert set(service.get("networks", ())) <= set(file["networks"]), name
        for mount in service.get("volumes", ()):
            source = mount.partition(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in file["volumes"], mount
    for service in services.values():
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_nothing_listens_beyond_this_machine_and_nothing_may_more_than_it_needs(file: dict[str, Any]):
    for name, service in file["services"].items():
        assert "privileged" not in service
        assert "no-new-privileges:true" in service["security_opt"], name
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ())), name
        if name != "clickhouse":
            assert service["cap_drop"] == ["ALL"], name
            assert service["read_only"], name
    assert file["services"]["sensor"]["cap_add"] == ["NET_RAW", "SETUID", "SETGID"]
    assert [name for name, service in file["services"].items() if service.get("cap_add")] == ["sensor"]


def test_scripts_are_shell_and_their_commands_exist(file: dict[str, Any]):
    commands = []
    for service in file["services"].values():
        for script in service.get("command", ()):
            text = script.replace("$$", "$")
            assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0, text
            commands += re.findall(r"exec aiscope (.*)", text)
    for command in commands:
        check_options(command.split())
    assert len(commands) == 3


def test_no_secret_is_in_the_file(file: dict[str, Any]):
    for service in file["services"].values():
        assert not [
            name for name in service.get("environment", {}) if re.fullmatch(r".*(PASSWORD|TOKEN|KEY)", name)
        ]


def test_the_image_copies_what_exists_and_is_let_in():
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    copied = [
        source for line in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.MULTILINE) for source in line.split()
    ]
    assert {"setup.py", "sensor", "signatures"} <= set(copied)  # without the first there is no native engine
    for source in copied:
        assert (DEPLOY.parent / source).exists(), source
    rules = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert rules[1] == "*"
    assert [rule.removeprefix("!") for rule in rules if rule.startswith("!")] == copied

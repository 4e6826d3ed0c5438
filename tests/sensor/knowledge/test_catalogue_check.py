"""The lints: each finds what it is for, and a sound folder has no findings."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensor.knowledge.catalogue_check import check, check_folder

SERVICE = """\
  - id: {id}
    name: {id}
    category: {category}
    {evidence}
    sources: [https://example.org]
    checked: 2026-11-22
    fires: [{fires}]
    silent: [{silent}]
"""


def write(folder: Path, *rows: dict[str, str], name: str = "acme") -> None:
    standard = {
        "category": "chat",
        "evidence": "hosts: {app: [a.example]}",
        "fires": "a.example",
        "silent": "b.example",
    }
    text = "".join(SERVICE.format(**{**standard, **row}) for row in rows)
    (folder / f"{name}.yaml").write_text(f"vendor: {name}\nname: {name}\nservices:\n{text}")


def found(folder: Path) -> list[str]:
    return [str(problem) for problem in check(folder, whole=False)]


def test_a_sound_folder(tmp_path: Path) -> None:
    write(tmp_path, {"id": "a"})
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (
            {"fires": "other.example"},
            "acme.yaml:10: services[0].fires[0]: a: 'other.example' matches nothing",
        ),
        (
            {"silent": "x.a.example"},
            "acme.yaml:11: services[0].silent[0]: a: 'x.a.example' is a by 'a.example'",
        ),
        (
            {"fires": "{address: 192.0.2.1}"},
            "acme.yaml:10: services[0].fires[0]: a: '192.0.2.1' matches nothing",
        ),
        (
            {"fires": "{request: GET /x, port: 81}"},
            "acme.yaml:10: services[0].fires[0]: a: 'GET /x (port 81)' matches nothing",
        ),
        (
            {"evidence": "hosts: {app: [a.example, www.a.example]}"},
            "acme.yaml:7: services[0].hosts.app[1]: 'www.a.example' is under 'a.example', which",
        ),
        (
            {"evidence": "servers: [{paths: [/v1]}]", "fires": "{request: GET /v1}"},
            "acme.yaml:7: services[0].servers[0]: path '/v1' alone says nothing: add ports or a marker",
        ),
        (
            {"evidence": "servers: [{paths: [POST /generate]}]", "fires": "{request: POST /generate}"},
            "acme.yaml:7: services[0].servers[0]: path 'POST /generate' alone says nothing: add",
        ),
    ],
)
def test_one_finding(tmp_path: Path, row: dict[str, str], error: str) -> None:
    write(tmp_path, {"id": "a", **row})
    (finding,) = found(tmp_path)
    assert finding.startswith(error)


def test_a_name_below_with_another_meaning_is_no_finding(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"id": "a", "evidence": "hosts: {app: [a.example], cdn: [cdn.a.example]}"},
        {"id": "b", "evidence": "hosts: {app: [b.a.example]}", "fires": "b.a.example"},
    )
    assert found(tmp_path) == []


def test_servers_that_cannot_be_told_apart(tmp_path: Path) -> None:
    same = "servers: [{ports: [8000], paths: [/api/run]}]"
    case = "{request: GET /api/run, port: 8000}"
    write(
        tmp_path, {"id": "a", "evidence": same, "fires": case}, {"id": "b", "evidence": same, "fires": case}
    )
    first, second = found(tmp_path)
    assert first.startswith(
        "acme.yaml:15: services[1].servers[0]: nothing tells it from a: port 8000, /api/run"
    )
    assert second.startswith("acme.yaml:18: services[1].fires[0]")


def test_dead_categories_are_found_in_a_whole_catalogue(tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    write(tmp_path / "services", {"id": "a"})
    texts = [problem.text for problem in check_folder(tmp_path)]
    assert len(texts) == 16
    assert "category 'coding' has no service" in texts
    assert "category 'chat' has no service" not in texts


def test_the_other_files_are_checked(tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    write(tmp_path / "services", {"id": "a"})
    (tmp_path / "clients.yaml").write_text("classes: [{class: X}]")
    assert any(problem.file == "clients.yaml" for problem in check_folder(tmp_path))


def test_an_empty_folder(tmp_path: Path) -> None:
    (problem,) = check(tmp_path)
    assert problem.text == "no vendor files"


def test_the_package_has_no_findings() -> None:
    from sensor.knowledge.catalogue_files import PACKAGED

    assert [str(problem) for problem in check_folder(PACKAGED)] == []

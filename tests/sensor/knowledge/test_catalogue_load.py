"""Loading: each mistake is one clear error with file, line and key; a cache is believed only when ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensor.knowledge import catalogue_files, catalogue_load
from sensor.knowledge.catalogue_files import CatalogueError, content_hash, files
from sensor.knowledge.catalogue_load import read_vendors, vendors

GOOD = """\
vendor: acme
name: Acme
country: NO
services:
  - id: acme-chat
    name: Acme Chat
    category: chat
    hosts: {app: [acme.example]}
    sources: [https://acme.example]
    checked: 2026-11-22
    fires: [acme.example]
    silent: [notacme.example]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "services"
    path.mkdir()
    (path / "acme.yaml").write_text(GOOD)
    return path


def wrong(folder: Path) -> list[str]:
    return [str(problem) for problem in read_vendors(files(folder))[1]]


def test_a_good_folder(folder: Path) -> None:
    assert wrong(folder) == []
    (vendor,) = vendors(files(folder))
    assert vendor.country == "NO"
    assert vendor.services[0].hosts == {"app": ("acme.example",)}


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("name: Acme\n", "name: [Acme\n", "acme.yaml:3: did not find expected ',' or ']'"),
        ("name: Acme\n", "", "acme.yaml: name: field required"),
        ("name: Acme\n", "name: Acme\nnmae: x\n", "acme.yaml:3: nmae: extra inputs are not permitted"),
        ("vendor: acme", "vendor: Acme Inc", "acme.yaml:1: vendor: string should match pattern"),
        (
            "vendor: acme",
            "vendor: acme-inc",
            "acme.yaml:1: vendor: vendor is 'acme-inc', the file's name says 'acme'",
        ),
        ("country: NO", "country: Norway", "acme.yaml:3: country: string should match pattern"),
        ("id: acme-chat", "id: Acme_Chat", "acme.yaml:5: services[0].id: string should match pattern"),
        ("category: chat", "category: chatt", "acme.yaml:7: services[0].category: input should be 'chat', "),
        ("{app: [", "{ap: [", "acme.yaml:8: services[0].hosts.ap.[key]: input should be 'app', "),
        (
            "[acme.example]}",
            "[com]}",
            "acme.yaml:8: services[0].hosts.app[0]: a host pattern has at least two labels",
        ),
        ("[acme.example]}", "['a b.example']}", "acme.yaml:8: services[0].hosts.app[0]: 'a b' is no label"),
        (
            "[acme.example]}",
            "['*.example']}",
            "acme.yaml:8: services[0].hosts.app[0]: a glob ends in two literal",
        ),
        ("[acme.example]}", "['x.*']}", "acme.yaml:8: services[0].hosts.app[0]: a glob ends in two literal"),
        ("[acme.example]}", "['=*.acme.example']}", "acme.yaml:8: services[0].hosts.app[0]: '*' is no label"),
        (
            "[acme.example]}",
            "[192.0.2.1]}",
            "acme.yaml:8: services[0].hosts.app[0]: an address belongs under",
        ),
        ("[acme.example]}", "['-a.example']}", "acme.yaml:8: services[0].hosts.app[0]: '-a' is no label"),
        ("hosts: {app: [acme.example]}", "hosts: {}", "acme.yaml:5: services[0]: nothing identifies it"),
        (
            "hosts: {app: [acme.example]}",
            "addresses: [10.0.0.1/8]",
            "acme.yaml:8: services[0].addresses[0]: 10.0.0.1/8 has",
        ),
        (
            "hosts: {app: [acme.example]}",
            "addresses: [10.0.0.0/99]",
            "acme.yaml:8: services[0].addresses[0]: '10.0.0.0/99'",
        ),
        (
            "hosts: {app: [acme.example]}",
            "addresses: [0.0.0.0/0]",
            "acme.yaml:8: services[0].addresses[0]: wider than",
        ),
        (
            "hosts: {app: [acme.example]}",
            "requests: [{path: /a*b*}]",
            "acme.yaml:8: services[0].requests[0].path: at most one *",
        ),
        (
            "hosts: {app: [acme.example]}",
            "requests: [{path: api}]",
            "acme.yaml:8: services[0].requests[0].path: a path is",
        ),
        (
            "hosts: {app: [acme.example]}",
            "servers: [{ports: [1]}]",
            "acme.yaml:8: services[0].servers[0]: a port alone",
        ),
        (
            "hosts: {app: [acme.example]}",
            "servers: [{ports: [70000], paths: [/x]}]",
            "acme.yaml:8: services[0].servers[0].ports[0]: input should be less than",
        ),
        (
            "sources: [https://acme.example]",
            "sources: []",
            "acme.yaml:9: services[0].sources: tuple should have at least 1",
        ),
        (
            "sources: [https://acme.example]",
            "sources: [ftp://x]",
            "acme.yaml:9: services[0].sources[0]: string should",
        ),
        (
            "checked: 2026-11-22",
            "checked: 2026-11-32",
            "acme.yaml:10: services[0].checked: input should be a valid date",
        ),
        (
            "fires: [acme.example]",
            "fires: []",
            "acme.yaml:11: services[0].fires: tuple should have at least 1",
        ),
        ("    silent: [notacme.example]\n", "", "acme.yaml:5: services[0].silent: field required"),
        (
            "name: Acme Chat",
            'name: "Acme\\e[31m"',
            "acme.yaml:6: services[0].name: string should match pattern",
        ),
        ("vendor: acme", "vendor: acme\nvendor: acme", "acme.yaml:2: key 'vendor' twice"),
        (
            "name: Acme\n",
            'name: Acme\n"\\e[31m": 1\n',
            "acme.yaml:3: \\x1b[31m: extra inputs are not permitted",
        ),
        (GOOD, "", "acme.yaml: should be a mapping"),
        (GOOD, "- a\n", "acme.yaml: should be a mapping"),
    ],
)
def test_one_clear_error(folder: Path, old: str, new: str, error: str) -> None:
    assert old in GOOD
    (folder / "acme.yaml").write_text(GOOD.replace(old, new, 1))
    (found,) = wrong(folder)
    assert found.startswith(error)
    assert found.isprintable()


def test_every_error_of_every_file_is_said(folder: Path) -> None:
    (folder / "acme.yaml").write_text(GOOD.replace("NO", "Norway").replace("2026-11-22", "never"))
    (folder / "bad.yaml").write_text("{")
    assert len(wrong(folder)) == 3


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (
            "acme.example]}",
            "other.example]}",
            "service id 'acme-chat' is in acme.yaml: services[0].id already",
        ),
        ("acme-chat", "other-chat", "host 'acme.example' is in acme.yaml: services[0].hosts.app[0] already"),
    ],
)
def test_two_files_may_not_claim_the_same(folder: Path, old: str, new: str, error: str) -> None:
    text = GOOD.replace("vendor: acme", "vendor: other").replace(old, new)
    (folder / "other.yaml").write_text(text)
    (found,) = wrong(folder)
    assert found.startswith("other.yaml:")
    assert error in found


@pytest.mark.parametrize("twin", ["ACME.example", "acme.example.", "acme.example"])
def test_one_service_may_not_claim_a_name_twice(folder: Path, twin: str) -> None:
    (folder / "acme.yaml").write_text(GOOD.replace("[acme.example]}", f"[acme.example], api: [{twin}]}}"))
    (found,) = wrong(folder)
    assert (
        "services[0].hosts.api[0]: host 'acme.example' is in acme.yaml: services[0].hosts.app[0] already"
        in found
    )


def test_an_error_has_all_problems(folder: Path) -> None:
    (folder / "acme.yaml").write_text(GOOD.replace("NO", "Norway").replace("2026-11-22", "never"))
    with pytest.raises(CatalogueError, match=r"and 1 more") as error:
        vendors(files(folder), folder)
    assert len(error.value.problems) == 2


def cached(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "cache" / "aiscope").glob("catalogue-*.json")
    return path


def test_the_cache_is_used(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = vendors(files(folder), folder)
    assert cached(tmp_path).stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(catalogue_load, "read_vendors", lambda found: pytest.fail("read again"))
    assert vendors(files(folder), folder) == first


def test_a_changed_file_is_read_again(folder: Path) -> None:
    vendors(files(folder), folder)
    (folder / "acme.yaml").write_text(GOOD.replace("Acme Chat", "Other"))
    assert vendors(files(folder), folder)[0].services[0].name == "Other"


def test_a_cache_that_is_not_ours_alone_is_not_believed(folder: Path, tmp_path: Path) -> None:
    vendors(files(folder), folder)
    store = cached(tmp_path)
    store.write_bytes(content_hash(files(folder)).encode() + b"\n[]")
    assert vendors(files(folder), folder) == ()  # ours: believed
    store.write_bytes(content_hash(files(folder)).encode() + b"\n[]")
    store.chmod(0o666)
    assert len(vendors(files(folder), folder)) == 1


def test_a_cache_that_is_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    vendors(files(folder), folder)
    store = cached(tmp_path)
    forged = tmp_path / "forged"
    forged.write_bytes(content_hash(files(folder)).encode() + b"\n[]")
    store.unlink()
    store.symlink_to(forged)
    assert len(vendors(files(folder), folder)) == 1
    assert forged.read_bytes().endswith(b"[]")


@pytest.mark.parametrize("text", [b"", b"\x80", b"{", b'[{"vendor": 1}]'])
def test_a_damaged_cache_is_replaced(folder: Path, tmp_path: Path, text: bytes) -> None:
    good = vendors(files(folder), folder)
    store = cached(tmp_path)
    store.write_bytes(content_hash(files(folder)).encode() + b"\n" + text)
    assert vendors(files(folder), folder) == good
    store.write_bytes(text)
    assert vendors(files(folder), folder) == good
    assert store.read_bytes().startswith(content_hash(files(folder)).encode())


def test_no_place_for_a_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(vendors(files(folder), folder)) == 1


def test_a_user_without_a_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert len(vendors(files(folder), folder)) == 1


def test_too_many_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_files, "MAX_FILES", 0)
    with pytest.raises(CatalogueError, match="more than 0 files"):
        files(folder)


def test_a_huge_file_is_not_read_whole(folder: Path) -> None:
    (folder / "acme.yaml").write_bytes(b"#" * 3_000_000)
    assert len(files(folder)[0][1]) == 1_048_577
    assert wrong(folder) == ["acme.yaml: larger than 1048576 bytes"]

"""Bundles: a good one is taken; whatever is wrong with another is one error and the old one stays in use."""

from __future__ import annotations

import base64
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sensor.knowledge import catalogue_bundle as bundles
from sensor.knowledge.catalogue import load
from sensor.knowledge.catalogue_bundle import MAGIC, BundleError, Changes, fetch, install, pack, unpack
from sensor.knowledge.catalogue_files import PACKAGED, newest, version

KEY = Ed25519PrivateKey.generate()
PIN = KEY.public_key()


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound catalogue: one service of each category."""
    root = tmp_path_factory.mktemp("source")
    (root / "services").mkdir()
    from sensor.knowledge.catalogue_model import CATEGORIES

    for name in CATEGORIES:
        (root / "services" / f"{name}.yaml").write_text(
            f"vendor: {name}\nname: {name}\nservices:\n  - id: {name}-x\n    name: x\n    category: {name}\n"
            f"    hosts: {{app: [{name}.example]}}\n    sources: [https://example.org]\n"
            f"    checked: 2026-11-22\n    fires: [{name}.example]\n    silent: [x{name}.example]\n"
        )
    return root


@pytest.fixture
def bundle(source: Path) -> Callable[..., bytes]:
    def make(number: int) -> bytes:
        (source / "version.yaml").write_text(f"{number}\n")
        return pack(source, KEY)

    return make


FIRST = version(PACKAGED) + 1


def signed(content: Any, key: Ed25519PrivateKey = KEY) -> bytes:
    payload = zstandard.compress(json.dumps(content).encode())
    return MAGIC + base64.b64encode(key.sign(MAGIC + payload)) + b"\n" + payload


def state(home: Path) -> list[tuple[str, str]]:
    return sorted(
        (str(path.relative_to(home)), str(path.readlink()) if path.is_symlink() else "")
        for path in home.rglob("*")
        if path.name != ".lock"
    )


def test_a_bundle_is_what_was_packed(source: Path, bundle: Callable[..., bytes]) -> None:
    data = bundle(FIRST)
    found = unpack(data, PIN)
    assert found["version.yaml"] == f"{FIRST}\n"
    assert found["services/chat.yaml"] == (source / "services" / "chat.yaml").read_text()
    assert bundle(FIRST) == data


def test_install_and_go_on(tmp_path: Path, bundle: Callable[..., bytes]) -> None:
    home = tmp_path / "home"
    assert newest(home) == PACKAGED
    first = install(bundle(FIRST), PIN, home)
    assert load(newest(home), cache=False).id == first
    second = install(bundle(FIRST + 1), PIN, home)
    assert load(newest(home), cache=False).id == second
    assert {path.name for path in home.iterdir()} == {".lock", "current", first, second}
    third = install(bundle(FIRST + 2), PIN, home)
    assert {path.name for path in home.iterdir()} == {".lock", "current", second, third}
    assert load(newest(home), cache=False).match("chat.example")


def test_changes_are_told_once(tmp_path: Path, bundle: Callable[..., bytes]) -> None:
    home, overrides = tmp_path / "home", tmp_path / "mine"
    overrides.mkdir()
    changes = Changes(home, overrides)
    assert not changes.changed()
    install(bundle(FIRST), PIN, home)
    assert [changes.changed(), changes.changed()] == [True, False]
    install(bundle(FIRST + 1), PIN, home)
    (overrides / "acme.yaml").write_text("vendor: acme\n")
    assert [changes.changed(), changes.changed()] == [True, False]
    (overrides / "notes.txt").write_text("not a catalogue's file")
    assert not changes.changed()
    (overrides / "acme.yaml").unlink()
    assert changes.changed()
    (home / "current" / "version.yaml").write_text("half")
    assert not changes.changed()


def test_a_package_that_is_newer_wins(tmp_path: Path, bundle: Callable[..., bytes]) -> None:
    home = tmp_path / "home"
    install(bundle(FIRST), PIN, home)
    (home / "current" / "version.yaml").write_text("1")
    assert newest(home) == PACKAGED


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


ATTACKS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "not a catalogue bundle"),
    "something else": (lambda data: b"PK\x03\x04" + data, "not a catalogue bundle"),
    "only the head": (lambda data: MAGIC, "signature"),
    "half": (lambda data: data[: len(data) // 2], "signature"),
    "one byte short": (lambda data: data[:-1], "signature"),
    "one byte more": (lambda data: data + b"x", "signature"),
    "a bit of the content": (lambda data: flip(data, -5), "signature"),
    "a bit of the signature": (lambda data: flip(data, len(MAGIC) + 3), "signature"),
    "no signature": (lambda data: MAGIC + b"\n" + data.split(b"\n", 2)[2], "signature"),
    "another key": (
        lambda data: signed({"files": unpack(data, PIN)}, Ed25519PrivateKey.generate()),
        "signature",
    ),
    "not zstd": (lambda data: MAGIC + base64.b64encode(KEY.sign(MAGIC + b"x")) + b"\nx", "not zstd"),
    "not JSON": (lambda data: raw(b"{"), "not what a bundle holds"),
    "deep JSON": (lambda data: raw(b"[" * 200_000), "not what a bundle holds"),
    "a list": (lambda data: signed([]), "not what a bundle holds"),
    "no files": (lambda data: signed({"files": {}}), "not what a bundle holds"),
    "files of another kind": (lambda data: signed({"files": [1]}), "not what a bundle holds"),
    "a number for a file": (lambda data: change(data, {"version.yaml": 9}), "version.yaml: not text"),
    "a huge file": (lambda data: change(data, {"services/x.yaml": "#" * 2_000_000}), "too long"),
    "path traversal": (lambda data: change(data, {"services/../../x.yaml": "a"}), "not allowed"),
    "an absolute path": (lambda data: change(data, {"/etc/cron.d/x": "a"}), "not allowed"),
    "a control character": (
        lambda data: change(data, {"services/\x1b.yaml": "a"}),
        r"not allowed: 'services/\\x1b",
    ),
    "a newline": (lambda data: change(data, {"services/a.yaml\n": "a"}), "not allowed"),
    "another folder": (lambda data: change(data, {"schema/x.yaml": "a"}), "not allowed"),
    "a bad vendor file": (lambda data: change(data, {"services/x.yaml": "vendor: x"}), "not sound: x.yaml"),
    "a bad side file": (lambda data: change(data, {"rubric.yaml": "criteria: 1"}), "not sound: rubric.yaml"),
    "a duplicate": (lambda data: change(data, {"services/x.yaml": twin(data)}), "not sound: x.yaml"),
    "no version": (lambda data: change(data, {"version.yaml": ""}), "not sound: version.yaml"),
    "not a number": (lambda data: change(data, {"version.yaml": "9e99"}), "not sound: version.yaml"),
    "a surrogate": (lambda data: change(data, {"services/x.yaml": "a: \ud800"}), "not text"),
    "an old version": (lambda data: change(data, {"version.yaml": str(FIRST - 1)}), "is not newer than"),
    "the same version": (lambda data: data, "is not newer than"),
}


def raw(text: bytes) -> bytes:
    payload = zstandard.compress(text)
    return MAGIC + base64.b64encode(KEY.sign(MAGIC + payload)) + b"\n" + payload


def change(data: bytes, files: dict[str, Any]) -> bytes:
    return signed({"files": {**unpack(data, PIN), "version.yaml": str(FIRST + 5), **files}})


def twin(data: bytes) -> str:
    return unpack(data, PIN)["services/chat.yaml"].replace("vendor: chat", "vendor: x")


@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_wrong_leaves_the_old_one(tmp_path: Path, bundle: Callable[..., bytes], name: str) -> None:
    attack, error = ATTACKS[name]
    home = tmp_path / "home"
    good = bundle(FIRST)
    first = install(good, PIN, home)
    before = state(home)
    with pytest.raises(BundleError, match=error) as found:
        install(attack(good), PIN, home)
    assert str(found.value).isprintable()
    assert state(home) == before
    assert load(newest(home), cache=False).id == first


def test_a_bomb_is_not_blown_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MAX_UNPACKED", 1_048_576)
    with pytest.raises(BundleError, match="larger than 1048576 bytes"):
        unpack(raw(b"0" * 50_000_000), PIN)
    window = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    ).compressobj()
    payload = window.compress(b"0" * 3_000_000) + window.flush()
    with pytest.raises(BundleError, match="too much memory"):
        unpack(MAGIC + base64.b64encode(KEY.sign(MAGIC + payload)) + b"\n" + payload, PIN)


def test_a_large_file_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MAX_BUNDLE", 100)
    (tmp_path / "big").write_bytes(b"x" * 1000)
    data = fetch(str(tmp_path / "big"))
    assert len(data) == 101
    with pytest.raises(BundleError, match="larger than 100 bytes"):
        unpack(data, PIN)


def test_a_link_in_the_way_is_replaced_not_followed(tmp_path: Path, bundle: Callable[..., bytes]) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    (elsewhere / "services").mkdir(parents=True)
    (elsewhere / "version.yaml").write_text("3")
    home.mkdir()
    (home / "current").symlink_to(elsewhere)
    name = install(bundle(FIRST), PIN, home)
    assert (home / "current").readlink() == Path(name)
    assert sorted(path.name for path in elsewhere.iterdir()) == ["services", "version.yaml"]


def test_a_link_under_the_new_name_is_not_followed(tmp_path: Path, bundle: Callable[..., bytes]) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "keep").write_text("x")
    data = bundle(FIRST)
    name = install(data, PIN, home)
    shutil.rmtree(home)
    home.mkdir()
    (home / name).symlink_to(elsewhere)
    assert install(data, PIN, home) == name
    assert (elsewhere / "keep").exists()
    assert not (home / name).is_symlink()


def test_cut_short_while_writing(
    tmp_path: Path, bundle: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    first = install(bundle(FIRST), PIN, home)
    before = state(home)
    monkeypatch.setattr(bundles, "_switch", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(BundleError, match="disk full"):
        install(bundle(FIRST + 1), PIN, home)
    assert load(newest(home), cache=False).id == first
    monkeypatch.undo()
    second = install(bundle(FIRST + 1), PIN, home)
    assert load(newest(home), cache=False).id == second
    assert len(state(home)) < 2 * len(before)


def test_two_updates_at_once(tmp_path: Path, bundle: Callable[..., bytes]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    data = bundle(FIRST)
    with bundles._locked(home), pytest.raises(BundleError, match="another update"):
        install(data, PIN, home)


@pytest.mark.parametrize("text", ["", "x", "AAAA", base64.b64encode(b"x" * 33).decode(), "é"])
def test_a_key_is_a_key(text: str) -> None:
    with pytest.raises(BundleError, match="32 bytes in base64"):
        bundles.public_key(text)


def test_keygen(tmp_path: Path) -> None:
    public = bundles.public_key(bundles.keygen(tmp_path / "key"))
    private = bundles.private_key((tmp_path / "key").read_text())
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    public.verify(private.sign(b"x"), b"x")
    with pytest.raises(FileExistsError):
        bundles.keygen(tmp_path / "key")


def test_what_has_findings_is_not_packed(tmp_path: Path, source: Path) -> None:
    shutil.copytree(source, tmp_path / "copy")
    (tmp_path / "copy" / "services" / "chat.yaml").unlink()
    with pytest.raises(BundleError, match="category 'chat' has no service"):
        pack(tmp_path / "copy", KEY)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args: Any) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_fetch(tmp_path: Path, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "bundle").write_bytes(b"abc")
    assert fetch(f"{served}/bundle") == b"abc"
    assert fetch(str(tmp_path / "bundle")) == b"abc"
    for missing in (f"{served}/none", str(tmp_path / "none"), "http://", "https://[", "http://127.0.0.1:1/x"):
        with pytest.raises(BundleError, match="cannot be read"):
            fetch(missing)

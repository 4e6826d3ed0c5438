import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.knowledge.seal import Sealer, SealError, load

SEALER = Sealer(bytes(range(64)))


@given(st.text(min_size=1))
def test_what_is_sealed_can_be_unsealed(name: str) -> None:
    token = SEALER.seal(name)
    assert token.startswith("~")
    assert SEALER.unseal(token) == name
    assert token[1:].replace("-", "").replace("_", "").isalnum()


def test_same_name_same_token_and_nothing_stays_nothing() -> None:
    assert SEALER.seal("anna") == Sealer(bytes(range(64))).seal("anna") != SEALER.seal("anne")
    assert SEALER.seal("") == ""


def test_a_sealed_looking_name_is_sealed_like_any_other() -> None:
    token = SEALER.seal("~anna")
    assert token != "~anna"
    assert SEALER.unseal(token) == "~anna"


def test_what_was_never_sealed_comes_back() -> None:
    assert SEALER.unseal("anna") == "anna"


@pytest.mark.parametrize("token", ["~", "~anna", "~" + "A" * 40, "~ä", "~" + "A" * 41])
def test_a_token_of_another_key_is_refused(token: str) -> None:
    with pytest.raises(SealError, match="not a name sealed with this key"):
        SEALER.unseal(token)
    with pytest.raises(SealError):
        Sealer(bytes(64)).unseal(SEALER.seal("anna"))


def test_key_file_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "state" / "names.key"
    first = load(path, create=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load(path).unseal(first.seal("anna")) == "anna"
    assert list(path.parent.iterdir()) == [path]


def test_two_processes_that_make_a_key_agree(tmp_path: Path) -> None:
    path, tokens = tmp_path / "names.key", list[str]()
    threads = [
        threading.Thread(target=lambda: tokens.append(load(path, create=True).seal("anna"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(tokens)) == 1
    assert len(tokens) == 4


def test_a_key_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "names.key"
    with pytest.raises(SealError, match=r"names\.key: sealing key cannot be read"):
        load(path)
    path.write_text("beef\n")
    path.chmod(0o600)
    with pytest.raises(
        SealError, match=r"names\.key: no sealing key: a sealing key has 64 bytes, this one 2"
    ):
        load(path)
    path.write_text("not hexadecimal")
    with pytest.raises(SealError, match=r"names\.key: no sealing key"):
        load(path)
    path.chmod(0o640)
    with pytest.raises(SealError, match="open to others: mode 0640"):
        load(path)


def test_a_place_where_no_key_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SealError, match="sealing key cannot be made"):
        load(tmp_path / "file" / "names.key", create=True)

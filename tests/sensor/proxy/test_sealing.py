from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sensor.proxy.cli import unseal
from sensor.proxy.sealing import Sealer, Unsealer, UnsealError, make


def test_only_the_private_key_opens_and_only_under_the_same_id(tmp_path: Path) -> None:
    private, public = make(tmp_path / "k")
    assert private.stat().st_mode & 0o777 == 0o600
    sealed = Sealer(public).seal("id-1", "the prompt \ud800")
    assert "prompt" not in base64.b64decode(sealed).decode("latin-1")
    assert Sealer(public).seal("id-1", "the prompt \ud800") != sealed
    assert Unsealer(private).unseal("id-1", sealed) == "the prompt \ud800"
    assert Sealer(public).key_id == Unsealer(private).key_id
    for wrong in (("id-2", sealed), ("id-1", sealed[:-4] + "AAA="), ("id-1", ""), ("id-1", "é")):
        with pytest.raises(UnsealError):
            Unsealer(private).unseal(*wrong)
    with pytest.raises(UnsealError):
        Unsealer(make(tmp_path / "other")[0]).unseal("id-1", sealed)


def test_a_key_is_never_overwritten_and_kinds_are_not_confused(tmp_path: Path) -> None:
    private, public = make(tmp_path / "k")
    with pytest.raises(FileExistsError):
        make(tmp_path / "k")
    for kind, path in ((Sealer, private), (Unsealer, public)):
        with pytest.raises(UnsealError):
            kind(path)


def test_the_command_opens_rows(tmp_path: Path) -> None:
    private, public = make(tmp_path / "k")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        json.dumps({"id": "a", "key_id": "", "ciphertext": Sealer(public).seal("a", "x\x1b")}) + "\n\n"
    )
    done = CliRunner().invoke(unseal, [str(private), str(rows)])
    assert done.output == '{"id": "a", "text": "x\\u001b"}\n'
    rows.write_text("{}\n")
    assert "line 1: not a row" in CliRunner().invoke(unseal, [str(private), str(rows)]).output

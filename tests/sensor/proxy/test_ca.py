from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from sensor.proxy import ca


def test_made_once_and_its_owners_alone(tmp_path: Path) -> None:
    assert ca.ensure(tmp_path / "home")
    key = tmp_path / "home" / ca.FILE
    assert key.stat().st_mode & 0o777 == 0o600
    before = ca.fingerprint(tmp_path / "home")
    assert not ca.ensure(tmp_path / "home")
    assert ca.fingerprint(tmp_path / "home") == before
    assert b"PRIVATE" not in (tmp_path / "home" / ca.PUBLIC).read_bytes()
    key.chmod(0o640)
    with pytest.raises(ca.CaError, match="others may read it"):
        ca.ensure(tmp_path / "home")


def test_constraints_are_the_outermost_names(tmp_path: Path) -> None:
    names = [
        "openai.com",
        "api.openai.com",
        "=claude.ai",
        "bedrock.*.amazonaws.com",
        "x-*.googleapis.com",
        "*.*",
    ]
    assert [name.value for name in ca.constraints(names)] == [
        "amazonaws.com", "claude.ai", "googleapis.com", "openai.com",
    ]  # fmt: skip
    ca.ensure(tmp_path, names)
    extension = ca.certificate(tmp_path).extensions.get_extension_for_class(x509.NameConstraints)
    assert extension.critical
    assert len(extension.value.permitted_subtrees or ()) == 4

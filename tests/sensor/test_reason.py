from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from sensor.reason import reason, why
from tests.ports import free_port


def test_the_systems_errors_without_their_number(tmp_path: Path) -> None:
    with pytest.raises(OSError) as missing:
        (tmp_path / "none").read_text()
    assert reason(missing.value) == f"{tmp_path / 'none'}: No such file or directory"
    assert why(missing.value) == "No such file or directory"
    assert (
        reason(OSError(13, "Permission denied"))
        == why(OSError(13, "Permission denied"))
        == "Permission denied"
    )


def test_what_is_said_in_words_stays() -> None:
    assert reason(ValueError("no key")) == why(ValueError("no key")) == "no key"
    assert reason(OSError("proxy.listen: taken")) == "proxy.listen: taken"
    bad = UnicodeDecodeError("ascii", b"\xff", 0, 1, "ordinal not in range(128)")
    assert why(bad) == str(bad)


def test_of_an_address_what_is_behind_it() -> None:
    with pytest.raises(urllib.error.URLError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{free_port()}", timeout=5)
    assert reason(refused.value) == why(refused.value) == "Connection refused"
    assert why(urllib.error.URLError("no host given")) == "<urlopen error no host given>"

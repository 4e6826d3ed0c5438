"""What needs no interface; `tests/sensor/test_watch_cli.py` has a wire."""

from __future__ import annotations

import pytest

from sensor.packets.facts import Limits, Watch
from sensor.packets.live import Options, open_live
from tests.sensor.packets.conftest import installed


def test_the_portable_engine_has_one_worker() -> None:
    with pytest.raises(ValueError, match="one worker"):
        open_live("portable", ["lo"], Watch(), Limits(), Options(workers=2))


@pytest.mark.parametrize("engine", installed())
def test_no_such_interface(engine: str) -> None:
    with pytest.raises(OSError, match=r"No such device|not permitted") as error:
        open_live(engine, ["nosuch0"], Watch(), Limits(), Options())
    assert error.value.filename == "nosuch0"


@pytest.mark.skipif("native" not in installed(), reason="the native engine is not installed")
def test_a_filter_that_is_none() -> None:
    with pytest.raises(ValueError, match="filter: "):
        open_live("native", ["nosuch0"], Watch(), Limits(), Options(filter="port port"))

"""Every test that takes `engine` runs on each engine that is installed. There is no per-engine exception."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from sensor.packets.engine import Engine, create, native
from sensor.packets.facts import Limits, Watch

Make = Callable[[Watch, Limits], Engine]


def installed() -> list[str]:
    try:
        native()
    except ImportError:
        return ["portable"]
    return ["portable", "native"]


@pytest.fixture(params=installed())
def engine(request: pytest.FixtureRequest) -> Make:
    return partial(create, request.param)

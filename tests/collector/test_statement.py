from __future__ import annotations

import pytest

from collector.gate import Statement
from collector.limits import Bounds
from collector.request import parse
from collector.statement import KEPT, Runner
from collector.users import User


class Engine:
    """Has no tables, and answers nothing."""

    known = frozenset[str]()

    def value(self, text: str) -> str:
        return ""

    def read(self, *statement: object) -> None:
        pass


@pytest.mark.parametrize(
    ("text", "query", "kept"),
    [("SELECT 1", b"", 1), ("-" * KEPT, b"", 1), ("-" * KEPT, b"param_a=1", 0), ("-" * 250_000, b"", 0)],
)
def test_verdicts_of_long_statements_are_not_kept(text: str, query: bytes, kept: int):
    runner = Runner(Engine(), Bounds(), "key")
    runner.gate.read = lambda *asked: Statement("SELECT 1")
    for _ in range(2):
        runner._read(text, parse(query, {}), User("rita", "reader"))
    assert runner._judged.cache_info().currsize == kept

"""Runs attacks in a process of its own with one of the five layers left out; prints which of them worked.

Called as `python layers.py DIRECTORY LAYER` with the attacks as JSON on standard input.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from collector import confine, limits
from collector.engine import Engine
from collector.errors import Refused
from collector.gate import Gate
from collector.limits import Bounds
from collector.request import Request
from collector.statement import Runner
from collector.users import User


def without(layer: str) -> None:
    """Take a layer out of the code that this process runs."""
    if layer == "canonical":
        Gate.canonical = lambda self, text: text.strip()  # type: ignore[method-assign]
    elif layer == "tree":
        Gate._rebuilt = lambda self, line, parameters, rights: line  # type: ignore[method-assign]
    elif layer == "latch":
        kept = limits.for_reading
        limits.for_reading = lambda given, bounds: {  # type: ignore[assignment]
            name: value for name, value in kept(given, bounds).items() if name != "readonly"
        }


def run(runner: Runner, attack: dict[str, Any]) -> tuple[bool, bytes]:
    """Whether a statement ended without an error, and what it gave."""
    sql, given = attack["sql"], bytearray()
    asked = Request(
        sql, attack["database"], "", "", True, False, attack["parameters"], attack["settings"], None
    )
    try:
        outcome = runner.run(asked, User(attack["user"], attack["role"]), iter(()), True)
        if outcome.answer:
            try:
                while (part := outcome.answer.next()) is not None and len(given) < 1 << 20:
                    given += part
            finally:
                outcome.answer.close()
    except Refused as error:
        return False, error.text.encode()
    return True, bytes(given)


def main(directory: Path, layer: str) -> None:
    without(layer)
    bounds = Bounds()
    config = confine.configuration(directory, bounds, None if layer == "grants" else "key")
    if layer != "landlock":
        confine.restrict(confine.needed(), [directory])
    runner = Runner(Engine(directory, config), bounds, "key")
    for attack in json.load(sys.stdin):
        ended, given = run(runner, attack)
        gained = {
            "run": ended,
            "secret": attack["secret"].encode() in given,
            "sealed": attack["sealed"].encode() in given,
            "out": Path(attack["out"]).exists(),
        }[attack["gain"]]
        print(
            json.dumps(
                {"name": attack["name"], "worked": gained, "said": given[:200].decode("utf-8", "replace")}
            )
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

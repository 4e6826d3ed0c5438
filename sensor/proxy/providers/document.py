"""Bounded JSON: read it, find its texts with their places, write it back with some of them changed.

Two readers of one document may disagree (RFC 8259 4: names that repeat; 8.1: bytes that are not UTF-8). What
could hide a text from us is a flaw, and `dump` of what was read has none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BYTES = 32 << 20  # of one document; vendors refuse requests of more than 20 to 32 MB
BRACKETS = 500_000  # objects and lists take about 64 bytes each
COMMAS = 2_000_000  # numbers and members take about 36
DEPTH = 64  # levels in which texts are looked for
NESTING = 200  # levels that are read at all, far from where Python's own recursion ends
TEXTS = 20_000
LONG = 10**11  # numbers from here on are texts: cards and account numbers need no quotes
KEY = 256  # characters of a name that may be part of a place
NESTED = "!"  # a step of a place: this string is JSON itself

Json = Any
Roles = Mapping[tuple[str, ...], str]


@dataclass(slots=True)
class Document:
    """A tree of dicts, lists, strings and numbers."""

    tree: Json
    flaws: list[str] = field(default_factory=list)


def load(data: bytes | str) -> Document | None:
    """None: not JSON, or more of it than is safe to build."""
    text, flaws = (data, []) if isinstance(data, str) else _decode(data)
    if len(text) > BYTES or text.count("{") + text.count("[") > BRACKETS or text.count(",") > COMMAS:
        return None

    def members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        found = dict(pairs)
        if len(found) != len(pairs) and "repeated name" not in flaws:
            flaws.append("repeated name")
        return found

    try:
        tree = json.loads(text, object_pairs_hook=members)
    except (ValueError, RecursionError):
        return None
    return Document(tree, flaws) if text.count("{") + text.count("[") <= NESTING or _shallow(tree) else None


def _shallow(tree: Json) -> bool:
    level = [tree]
    for _ in range(NESTING):
        nodes = (child for node in level for child in (node.values() if isinstance(node, dict) else node))
        level = [node for node in nodes if isinstance(node, dict | list)]
        if not level:
            return True
    return False


def _decode(data: bytes) -> tuple[str, list[str]]:
    try:
        encoding = json.detect_encoding(data)
        return data.decode(encoding), ["not UTF-8"] if encoding not in ("utf-8", "utf-8-sig") else []
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace"), ["not UTF-8"]


def dump(tree: Json) -> bytes:
    """Compact UTF-8; lone surrogates stay escaped."""
    try:
        return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(tree, separators=(",", ":")).encode()


def pointer(path: Sequence[str]) -> str:
    """RFC 6901 3."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)


def steps(where: str) -> list[str]:
    """The opposite of `pointer`."""
    return [step.replace("~1", "/").replace("~0", "~") for step in where.split("/")[1:]]


def put(node: Json, path: Sequence[str], text: str) -> Json:
    """`node` with `text` at a place. KeyError: there is no string there."""
    if not path:
        if not isinstance(node, str | int) or isinstance(node, bool):
            raise KeyError("no text here")
        return text
    step, rest = path[0], path[1:]
    if isinstance(node, dict) and step in node:
        node[step] = put(node[step], rest, text)
    elif isinstance(node, list) and step.isdecimal() and int(step) < len(node):
        node[int(step)] = put(node[int(step)], rest, text)
    elif isinstance(node, str) and step == NESTED and (inner := load(node)):
        return dump(put(inner.tree, rest, text)).decode()
    else:
        raise KeyError(f"no such place: {step!r:.80}")
    return node


def change(tree: Json, changes: Mapping[str, str]) -> Json:
    """`tree` with new texts. The deepest go first: a nested document is text as well."""
    for where in sorted(changes, key=lambda where: -where.count("/")):
        tree = put(tree, steps(where), changes[where])
    return tree


class Walk:
    """Every string and long number of a tree with its place and the role of the region it is in, bounded."""

    def __init__(self, roles: Roles, visit: Callable[[tuple[str, ...] | None, str, str], None]) -> None:
        """`visit(path, text, role)`; path is None where a place cannot be written down."""
        self._roles, self._visit = roles, visit
        self.left = TEXTS
        self.cut = False

    def over(self, tree: Json) -> None:
        """Depth first, in the document's order; holds one iterator a level."""
        path: list[str] = []
        role = self._roles.get((), "other")
        if isinstance(tree, str):
            return self._text((), tree, role)
        stack: list[tuple[Iterator[tuple[str, Json]], str]] = [(self._members(tree, role), role)]
        while stack:
            items, role = stack[-1]
            for key, value in items:
                if isinstance(value, str):
                    self._text((*path, key), value, self._role(path, key, role))
                elif isinstance(value, int) and abs(value) >= LONG:
                    self._text((*path, key), str(value), self._role(path, key, role))
                elif isinstance(value, dict | list) and value:
                    if len(stack) >= DEPTH:
                        self.cut = True
                        continue
                    role = self._role(path, key, role)
                    path.append(key)
                    stack.append((self._members(value, role), role))
                    break
            else:
                stack.pop()
                if path:
                    path.pop()
        return None

    def _role(self, path: list[str], key: str, role: str) -> str:
        return self._roles.get((*path, key), role) if len(path) < 8 else role

    def _members(self, value: Json, role: str) -> Iterator[tuple[str, Json]]:
        if isinstance(value, list):
            return ((str(i), item) for i, item in enumerate(value))
        if not isinstance(value, dict):
            return iter(())
        for key in value:
            if len(key) > 64 or " " in key:  # nobody names a member like this: it is data
                self._text(None, key, role)
        return ((key, item) for key, item in value.items())

    def _text(self, path: tuple[str, ...] | None, text: str, role: str) -> None:
        if not text:
            return
        self.left -= 1
        if self.left < 0:
            self.cut = True
            return
        if path is not None and any(len(step) > KEY for step in path):
            path = None
        self._visit(path, text, role)

"""YAML of unknown origin to plain values: mappings, lists, text, true/false and nothing else.

Built on libyaml's events, which need no recursion. Scalars stay text: the schema gives them a type, so the
country `NO` is Norway. Keys are unique. What a catalogue has no use for is refused: aliases, tags, several
documents.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from sensor.knowledge.catalogue_files import MAX_BYTES

MAX_DEPTH = 16  # the format needs eight
MAX_NODES = 100_000

Lines = dict[tuple[str | int, ...], int]


class UnreadableError(ValueError):
    """Not YAML, or YAML that is not accepted. `line` counts from 1; 0 when the whole file is meant."""

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(text)
        self.line = line


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    value: dict[str, Any] | list[Any]
    path: tuple[str | int, ...]
    key: str | None = field(default=None)


def parse(data: bytes) -> tuple[Any, Lines]:
    """The one document of `data`, and the line of every value by its path. Raises `UnreadableError`."""
    if len(data) > MAX_BYTES:
        raise UnreadableError(f"larger than {MAX_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UnreadableError(f"not UTF-8 at byte {error.start}") from None
    try:
        return _build(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise UnreadableError(error.problem or "not YAML", line) from None
    except yaml.YAMLError:  # a control character; its message repeats it
        raise UnreadableError("not YAML: a character that is not allowed") from None


def _build(text: str) -> tuple[Any, Lines]:
    root: list[Any] = []
    stack = [_Open(root, ())]
    lines: Lines = {}
    for count, event in enumerate(yaml.parse(text, Loader=yaml.CSafeLoader)):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if count > MAX_NODES:
            raise UnreadableError(f"more than {MAX_NODES} values", line)
        if isinstance(event, yaml.CollectionEndEvent):
            stack.pop()
        elif isinstance(event, yaml.NodeEvent):
            _add(event, line, stack, lines)
        elif isinstance(event, yaml.DocumentStartEvent) and root:
            raise UnreadableError("more than one document", line)
    return (root[0] if root else None), {path[1:]: line for path, line in lines.items()}


def _add(event: yaml.NodeEvent, line: int, stack: list[_Open], lines: Lines) -> None:
    if not isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) or event.anchor:
        raise UnreadableError("anchors and aliases are not allowed", line)
    if event.tag:
        raise UnreadableError("tags are not allowed", line)
    parent = stack[-1]
    if isinstance(parent.value, dict) and parent.key is None:
        _set_key(parent, event, line)
        return
    value: Any = _scalar(event) if isinstance(event, yaml.ScalarEvent) else _empty(event)
    path = (*parent.path, len(parent.value) if isinstance(parent.value, list) else parent.key or "")
    lines[path] = line
    if isinstance(parent.value, list):
        parent.value.append(value)
    else:
        parent.value[parent.key or ""] = value
        parent.key = None
    if not isinstance(event, yaml.ScalarEvent):
        if len(stack) > MAX_DEPTH:
            raise UnreadableError(f"nested deeper than {MAX_DEPTH}", line)
        stack.append(_Open(value, path))


def _set_key(parent: _Open, event: yaml.NodeEvent, line: int) -> None:
    if not isinstance(event, yaml.ScalarEvent):
        raise UnreadableError("a key must be text", line)
    if event.value in parent.value:
        raise UnreadableError(f"key {event.value!r} twice", line)
    parent.key = event.value


def _empty(event: yaml.NodeEvent) -> dict[str, Any] | list[Any]:
    return {} if isinstance(event, yaml.MappingStartEvent) else []


def _scalar(event: yaml.ScalarEvent) -> str | bool | None:
    plain = event.implicit[0]  # without quotes
    if plain and event.value in ("", "~", "null"):
        return None
    if plain and event.value in ("true", "false"):
        return bool(event.value == "true")
    return str(event.value)

"""YAML of unknown origin: plain values, lines, and a refusal for everything else."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sensor.knowledge.catalogue_files import MAX_BYTES
from sensor.knowledge.catalogue_yaml import MAX_NODES, UnreadableError, parse


def test_values_are_text_lists_and_mappings() -> None:
    value, lines = parse(
        b"country: NO\ndate: 2026-11-22\nports: [80, '443']\nflag: true\nquoted: 'true'\nnone:\n"
    )
    assert value == {
        "country": "NO",
        "date": "2026-11-22",
        "ports": ["80", "443"],
        "flag": True,
        "quoted": "true",
        "none": None,
    }
    assert lines[("date",)] == 2
    assert lines[("ports", 1)] == 3


def test_lines_point_at_nested_values() -> None:
    _, lines = parse(b"a:\n  - b: 1\n  - b: 2\n    c:\n      d: 3\n")
    assert lines[("a", 1, "c", "d")] == 5


def test_an_empty_file_is_nothing() -> None:
    assert parse(b"") == (None, {})
    assert parse(b"# only a comment\n") == (None, {})


BOMB = b"a: &a [x]\n" + b"".join(
    b"b%d: &b%d [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n" % (i, i) for i in range(9)
)


@pytest.mark.parametrize(
    ("data", "text", "line"),
    [
        (b"a: [1\nb: 2\n", "did not find expected", 2),
        (b"a: 1\nb: 2\na: 3\n", "key 'a' twice", 3),
        (b"a: &x 1\n", "anchors and aliases", 1),
        (b"a: 1\nb: *x\n", "anchors and aliases", 2),
        (BOMB, "anchors and aliases", 1),
        (b"a: !!python/object/apply:os.system [id]\n", "tags are not allowed", 1),
        (b"a: !!int 1\n", "tags are not allowed", 1),
        (b"--- 1\n--- 2\n", "more than one document", 2),
        (b"? [a]\n: 1\n", "a key must be text", 1),
        (b"[" * 1000, "nested deeper", 1),
        (b"a: " + b"[" * 40 + b"]" * 40, "nested deeper", 1),
        (b"\xff\xfe", "not UTF-8", 0),
        (b"a: \x00b\n", "not allowed", 0),
        (b"a: \x1b[31m\n", "not allowed", 0),
        (b"\ta: 1\n", "cannot start any token", 1),
        (b" " * (MAX_BYTES + 1), "larger than", 0),
        (b"[" + b"a," * (MAX_NODES + 1) + b"]", "more than", 1),
    ],
)
def test_refused(data: bytes, text: str, line: int) -> None:
    with pytest.raises(UnreadableError, match=text) as error:
        parse(data)
    assert error.value.line == line
    assert str(error.value).isprintable()


PLAIN = st.recursive(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1) | st.booleans(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc_", min_size=1), inner),
    max_leaves=20,
)


def as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_text(item) for item in value]
    return value


@given(PLAIN)
def test_what_pyyaml_writes_is_read_back(value: Any) -> None:
    text = yaml.safe_dump({"v": value}, default_style=None)
    assert parse(text.encode())[0] == {"v": as_text(value)}


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    try:
        value, lines = parse(data)
    except UnreadableError:
        return
    assert value is None or isinstance(value, str | bool | list | dict)
    assert all(line > 0 for line in lines.values())

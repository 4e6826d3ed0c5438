import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.proxy.providers import document
from tests.sensor.proxy.providers.samples import trees


def strings(tree: Any, roles: dict[tuple[str, ...], str] | None = None) -> list[tuple[Any, str, str]]:
    found: list[tuple[Any, str, str]] = []
    document.Walk(roles or {}, lambda path, text, role: found.append((path, text, role))).over(tree)
    return found


@given(trees)
def test_what_is_dumped_is_what_was_loaded(tree: Any) -> None:
    again = document.load(document.dump(tree))
    assert again
    assert again.tree == json.loads(json.dumps(tree))


@given(st.binary(max_size=200))
def test_any_bytes_load_or_do_not(data: bytes) -> None:
    found = document.load(data)
    assert found is None or document.dump(found.tree)


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 500, "1" * 5_000, '{"a":' * 300 + "1" + "}" * 300, "nul", "\x00"]
)
def test_what_is_no_document(text: str) -> None:
    assert document.load(text) is None


def test_depth_ends_where_it_says() -> None:
    assert document.load("[" * 199 + "]" * 199)
    assert document.load("[1,[" * 150 + "]]" * 150) is None


def test_other_encodings_are_a_flaw() -> None:
    found = document.load('{"a":"ü"}'.encode("utf-16"))
    assert found
    assert (found.tree, found.flaws) == ({"a": "ü"}, ["not UTF-8"])
    found = document.load(b'{"a":"\xff"}')
    assert found
    assert (found.tree, found.flaws) == ({"a": "\ufffd"}, ["not UTF-8"])


def test_lone_surrogates_survive() -> None:
    found = document.load(rb'{"a":"\ud800 x"}')
    assert found
    assert document.dump(found.tree) == rb'{"a":"\ud800 x"}'


@given(st.lists(st.text(max_size=5), max_size=4))
def test_places_are_json_pointers(path: list[str]) -> None:
    assert document.steps(document.pointer(path)) == path


def test_places_follow_rfc_6901() -> None:
    assert document.pointer(["a/b", "m~n", "0"]) == "/a~1b/m~0n/0"


@given(trees)
def test_every_place_can_be_changed(tree: Any) -> None:
    for path, text, _ in strings(tree):
        if path is not None:
            changed = document.change(json.loads(json.dumps(tree)), {document.pointer(path): text + "!"})
            assert (path, text + "!") in [(at, found) for at, found, _ in strings(changed)]


def test_nested_documents_are_changed_inside() -> None:
    tree = {"a": json.dumps({"b": ["x", "y"]})}
    assert json.loads(document.change(tree, {"/a/!/b/1": "z"})["a"]) == {"b": ["x", "z"]}


@pytest.mark.parametrize("where", ["/x", "/a/1", "/a/!/b", "/b", "", "/b/01", "/b/-1", "/b/9"])
def test_a_place_that_is_not_there_is_an_error(where: str) -> None:
    with pytest.raises(KeyError):
        document.change({"a": "no json", "b": [1]}, {where: "z"})


def test_roles_hold_for_regions() -> None:
    tree = {"a": {"b": "one", "c": ["two"]}, "d": "three"}
    got = strings(tree, {("a",): "user", ("a", "c"): "tool"})
    assert [(text, role) for _, text, role in got] == [("one", "user"), ("two", "tool"), ("three", "other")]


def test_data_hidden_in_names_is_text_without_a_place() -> None:
    got = strings({"my secret prompt": {"x": "inside"}, "k" * 300: "under"})
    assert (None, "my secret prompt", "other") in got
    assert (None, "k" * 300, "other") in got
    assert (("my secret prompt", "x"), "inside", "other") in got
    assert (None, "under", "other") in got


def test_too_many_texts_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "TEXTS", 3)
    count = []
    walk = document.Walk({}, lambda path, text, role: count.append(text))
    walk.over(["a", "b", "c", "d"])
    assert (count, walk.cut) == (["a", "b", "c"], True)

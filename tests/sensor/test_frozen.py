"""What `sensor.frozen` makes is a dataclass with slots like those of `dataclasses`, but for the check of assignment."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import field

import pytest

from sensor.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Made:
    name: str
    number: int = 0
    key: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Further(Made):
    """One field more."""

    words: tuple[str, ...] = field(default_factory=tuple)


@dataclasses.dataclass(frozen=True, slots=True)
class Plain:
    name: str
    number: int = 0
    key: str = field(default="", repr=False, compare=False)


def test_values_are_equal_by_their_fields_and_class() -> None:
    assert Made("a", 1, "x") == Made("a", 1, "y") != Made("a", 2, "x")
    assert Made("a") != Plain("a")
    assert Made("a") != Further("a")
    assert len({Made("a", 1, "x"), Made("a", 1, "y"), Made("b", 1)}) == 2
    assert hash(Made("a", 1)) == hash(Plain("a", 1))


def test_text_is_that_of_dataclasses_and_keeps_secrets() -> None:
    assert repr(Made("a", 1, "secret")) == repr(Plain("a", 1, "secret")).replace("Plain", "Made")
    assert repr(Further("a", words=("b",))) == "Further(name='a', number=0, words=('b',))"


def test_dataclasses_takes_it_for_one_of_its_own() -> None:
    assert [f.name for f in dataclasses.fields(Further)] == ["name", "number", "key", "words"]
    assert dataclasses.replace(Made("a"), number=2) == Made("a", 2)
    assert dataclasses.asdict(Made("a")) == {"name": "a", "number": 0, "key": ""}
    match Made("a", 3):
        case Made(name, number):
            assert (name, number) == ("a", 3)


def test_values_go_to_other_processes() -> None:
    further = Further("a", 1, "k", ("b",))
    assert pickle.loads(pickle.dumps(further)) == copy.copy(further) == further
    assert pickle.loads(pickle.dumps(further)).key == "k"


def test_there_is_no_room_for_more() -> None:
    with pytest.raises(AttributeError):
        Made("a").other = 1  # type: ignore[attr-defined]
    assert not hasattr(Further("a"), "__dict__")


def test_only_what_the_type_checker_was_told() -> None:
    with pytest.raises(TypeError):
        dataclass(frozen=True, slots=False)
    with pytest.raises(TypeError):
        dataclass(frozen=True, slots=True, order=True)

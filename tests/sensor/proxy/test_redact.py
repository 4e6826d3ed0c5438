from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sensor.proxy.dlp import Hit
from sensor.proxy.redact import Placeholders


def hit(start: int, end: int, data_class: str = "payment-card") -> Hit:
    return Hit(data_class, "x", "0", start, end, "high", "high")


def test_one_value_has_one_placeholder_in_all_texts() -> None:
    made = Placeholders()
    assert (
        made.put("a 1111 b 2222 c 1111", [hit(2, 6), hit(9, 13), hit(16, 20)])
        == "a <CARD_1> b <CARD_2> c <CARD_1>"
    )
    assert made.put("1111", [hit(0, 4)]) == "<CARD_1>"
    assert made.originals == {"<CARD_1>": "1111", "<CARD_2>": "2222"}


def test_a_placeholder_that_is_in_the_text_already_is_not_ours() -> None:
    made = Placeholders({"<CARD_1>"}.__contains__)
    assert made.put("<CARD_1> 1111", [hit(9, 13)]) == "<CARD_1> <CARD_2>"


def test_overlapping_places_leave_nothing() -> None:
    made = Placeholders()
    out = made.put("0123456789", [hit(2, 6), hit(4, 8, "iban"), hit(5, 6)])
    assert out == "01<CARD_1><IBAN_1>89"


@given(
    st.text(alphabet="abc", max_size=30),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6),
)
def test_putting_back_gives_the_text(text: str, places: list[tuple[int, int]]) -> None:
    hits = [hit(a, b) for a, b in places if a < b <= len(text)]
    made = Placeholders()
    out = made.put(text, hits)
    for name, value in made.originals.items():
        out = out.replace(name, value)
    assert out == text

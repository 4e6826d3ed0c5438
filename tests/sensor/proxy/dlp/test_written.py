"""What is written in several ways is found in each, and placed where it was."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.proxy import dlp
from sensor.proxy.dlp import written
from sensor.proxy.dlp.site import hash_value, read_lines

CARD = "４５３９\u3000１４８８\u3000０３４３\u3000６４６７"
KEY = b"k" * 16


@pytest.fixture(scope="module")
def config():
    site = dlp.Site(
        regions=("JP", "DE"),
        names=frozenset({"anna müller"}),
        words={"projects": ("projekt köln",)},
        exact=(dlp.site.Exact("people", frozenset({hash_value(KEY, "Jörg Weiß")})),),
        key=KEY,
    )
    return dlp.open_config(site=site)


def apart(text):
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize(
    ("value", "data_class"),
    [
        (CARD, "payment-card"),
        ("０９０－１２３４－５６７８", "phone"),
        ("tanaka＠example.co.jp", "email"),
        ("ｔａｎａｋａ＠ｅｘａｍｐｌｅ．ｃｏ．ｊｐ", "email"),
        (apart("Anna Müller"), "person-name"),
        (apart("Jörg Weiß"), "exact-match"),
        (apart("Königstraße 12, 70173 Köln"), "address"),
        (apart("Projekt Köln"), "custom"),
        ("Anna M\\u00fcller", "person-name"),
        ("Anna M\\\\u00FCller", "person-name"),
        ("anna\\u0040corp.com", "email"),
    ],
)
def test_what_is_found_is_placed_where_it_was(value, data_class, config):
    """Texts before it that are written in other ways too, so that all places differ."""
    text = f"Größe {apart('ÄÖÜ')} ７ \\u00e4 電話：{value} {apart('ü')} 終"
    assert [
        (hit.data_class, text[hit.start : hit.end]) for hit in dlp.scan([dlp.Text("", text)], config).hits
    ] == [(data_class, value)]


def test_json_in_json(config):
    text = json.dumps(json.dumps({"to": "Anna Müller"}))
    assert [text[hit.start : hit.end] for hit in dlp.scan([dlp.Text("", text)], config).hits] == [
        "Anna M\\\\u00fcller"
    ]


def test_lists_are_read_the_same_way(tmp_path):
    path = tmp_path / "words"
    path.write_text(f"ＮＴＴ\n{apart('Köln')}\n")
    assert read_lines(path) == ["NTT", "Köln"]
    assert hash_value(KEY, apart("Jörg Weiß")) == hash_value(KEY, "Jörg Weiß")


def all_of(work):
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


pieces = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "ü",
                "u\u0308",
                "\u0308",
                "７",
                "\u3000",
                "\\u00fc",
                "\\\\u0041",
                "\\ud83d",
                "か\u3099",
                "\U0001f697",
            ]
        ),
        st.text(max_size=3),
        st.just("x" * 4_090),
    )
).map("".join)


@given(pieces)
def test_places_stand_for_the_same_text(text):
    found = all_of(written.steps(text, text.encode("utf-8", "surrogatepass")))
    assert found.original(0) == 0
    assert found.original(len(found.text)) == len(text)
    for end in (*found.ends, len(found.text)):
        assert written.one_way(text[: found.original(end)]) == found.text[:end]


def test_most_texts_are_left_as_they_are():
    text = "Grüße, 你好 \\n C:\\users"
    assert all_of(written.steps(text, text.encode())).text is text

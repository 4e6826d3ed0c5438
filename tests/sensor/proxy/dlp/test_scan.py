"""Places, order, overlaps, bounds; and that the worst inputs take linear time."""

import itertools
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.proxy import dlp
from sensor.proxy.dlp.samples import expand

CARD = "4539 1488 0343 6467"
MEGABYTE = 1_048_576


@pytest.fixture(scope="module")
def config():
    return dlp.open_config()


def found(text, config, **fields):
    return dlp.scan([dlp.Text("here", text, **fields)], config).hits


def test_places_are_characters_also_after_letters_that_take_several_bytes(config):
    text = f"Straße 🚗 naïve — {CARD} und jane@corp.com"
    card, mail = found(text, config)
    assert text[card.start : card.end] == CARD
    assert text[mail.start : mail.end] == "jane@corp.com"
    assert (card.data_class, mail.data_class, card.where) == ("payment-card", "email", "here")


def test_a_hit_never_holds_what_it_found(config):
    for hit in found(f"{CARD} password: Winter2026!x {expand('ghp_{{alnum:36}}')}", config):
        assert "4539" not in repr(hit)
        assert "Winter" not in repr(hit)
        assert "ghp_" not in repr(hit)


@pytest.mark.parametrize("value", [CARD, "jane@corp.com", "DE89 3704 0044 0532 0130 00", "ghp_{{alnum:36}}"])
@pytest.mark.parametrize("before", ["\n", "\t", "\r\n"])
def test_values_that_begin_a_line_of_json_in_a_string(config, value, before):
    """A tool's arguments and results are JSON that is a string: its line breaks are a backslash and a letter."""
    value = expand(value)
    text = json.dumps({"text": f"Straße:{before}{value}{before}and more"}, ensure_ascii=False)
    assert [text[hit.start : hit.end] for hit in found(text, config)] == [value]


@pytest.mark.parametrize("value", ["zhang.wei@corp.cn", CARD, "müller@bücher.de", "info@例え.jp"])
def test_words_of_a_sentence_without_spaces_are_no_part_of_a_value(config, value):
    text = f"请发邮件到{value}谢谢"
    assert [text[hit.start : hit.end] for hit in found(text, config)] == [value]


def test_neighbours_are_all_found(config):
    """What ends one value begins the next."""
    text = " ".join(expand("ghp_{{alnum:36}}", seed) for seed in range(20))
    assert len(found(text, config)) == 20
    assert len(found("a@corp.com,b@corp.com;c@corp.com\nd@corp.com e@corp.com", config)) == 5


def test_of_values_that_overlap_one_is_kept(config):
    token = expand("sk-ant-api03-{{base64url:93}}AA")
    assert [h.detector for h in found(f"api_key = {token}", config)] == ["anthropic-api-key"]


def test_what_stood_before_counts_as_context_and_is_no_hit(config):
    hits = found("Winter2026!x", config, hint="password")
    assert [(h.start, h.end, h.data_class) for h in hits] == [(0, 12, "credentials")]
    assert found("x", config, hint="jane@corp.com") == ()


def test_context_raises_confidence_and_needed_context_is_needed(config):
    assert found("536-22-8726", config)[0].confidence == "medium"
    assert found("SSN 536-22-8726", config)[0].confidence == "high"
    assert found("44051401359", config) == ()
    assert found("PESEL 44051401359", config)[0].detector == "pl-pesel"


def test_numbers_across_a_step(config):
    for before in range(16_360, 16_390):
        text = "x " * (before // 2) + " " * (before % 2) + CARD
        assert [h.data_class for h in found(text, config)] == ["payment-card"], before


def test_texts_beyond_the_limit_are_said_to_be(config):
    small = dlp.Config(config.detectors, limits=dlp.Limits(bytes=1_000))
    scan = dlp.scan([dlp.Text("a", f"{CARD} " + "x" * 2_000), dlp.Text("b", CARD)], small)
    assert [(h.data_class, h.where) for h in scan.hits] == [
        ("too-large", "a"),
        ("payment-card", "a"),
        ("too-large", "b"),
    ]
    assert scan.bytes == 1_000


def test_hits_and_candidates_are_bounded(config):
    small = dlp.Config(config.detectors, limits=dlp.Limits(candidates=10, hits=15))
    mails = " ".join(f"a{n}@corp.com" for n in range(100))
    hits = found(mails, small)
    assert (len(hits), hits[-1].data_class) == (16, "too-large")
    vain = "4539148803436468 " * 10 + "4539148803436467"
    assert [(h.data_class, h.detector) for h in found(vain, small)] == [("too-large", "candidates")]
    assert [h.data_class for h in found(vain[34:], small)] == ["payment-card"]
    scan = dlp.scan([dlp.Text(str(n), mails) for n in range(9)], small)
    assert len(scan.hits) == 16
    assert scan.hits[-1].data_class == "too-large"


def test_a_list_of_thousands_is_found_to_its_end(config):
    """Redaction replaces what is found: the rest would leave."""
    mails = [f"a{n}@corp.com" for n in range(3_000)]
    assert len(found("\n".join(mails), config)) == 3_000
    names = dlp.Config((), dlp.Site(names=frozenset({"anna weber"}), words={"p": ("nightjar",)}))
    assert len(found(("Anna Weber, nightjar. " + "x" * 200) * 3_000, names)) == 6_000


def test_counts_by_class_and_confidence(config):
    scan = dlp.scan([dlp.Text("a", f"{CARD} 12 Elm Street jane@corp.com joe@corp.com")], config)
    assert scan.counts() == {"payment-card": 1, "address": 1, "email": 2}
    assert scan.counts("high") == {"payment-card": 1, "email": 2}


def test_detectors_can_be_switched_off_and_unknown_ones_are_refused():
    config = dlp.open_config(disabled=["email"])
    assert found("jane@corp.com", config) == ()
    with pytest.raises(ValueError, match="unknown detectors: e-mail"):
        dlp.open_config(disabled=["e-mail"])


def test_steps_give_the_same_and_pause(config):
    text = dlp.Text("a", f"{CARD} lorem ipsum " * 20_000)

    def drive():
        result.append((yield from dlp.steps([text], config)))

    result = []
    assert sum(1 for _ in drive()) > 20
    assert result == [dlp.scan([text], config)]


@settings(max_examples=150)
@given(st.text(max_size=400), st.text(max_size=40))
def test_any_text_is_scanned_without_an_error(config, text, hint):
    for hit in found(text, config, hint=hint):
        assert 0 <= hit.start <= hit.end <= len(text)


@settings(max_examples=100)
@given(
    st.lists(
        st.sampled_from(
            [CARD, "a@corp.com", "\ud800", "é", "password=", "\0", "-----BEGIN ", "eyJ", "🚗", "1"]
        ),
        max_size=40,
    )
)
def test_pieces_of_secrets_in_any_order(config, parts):
    text = "".join(parts)
    for hit in found(text, config):
        assert 0 <= hit.start < hit.end <= len(text)


WORST = {
    "e-mail without end": "a." * (MEGABYTE // 2),
    "at signs": "a@" * (MEGABYTE // 2),
    "digits": "1" * MEGABYTE,
    "grouped digits": "4539 1488 0343 6467 " * (MEGABYTE // 20),
    "IBANs": "DE89370400440532013000 " * (MEGABYTE // 23),
    "keywords": "ghp_sk-akia" * (MEGABYTE // 11),
    "assignments": "password=api_key=token:" * (MEGABYTE // 23),
    "private keys that do not end": "-----BEGIN PRIVATE KEY-----\nMII" * (MEGABYTE // 31),
    "tokens without dots": "eyJ" * (MEGABYTE // 3),
    "code": "if (x) {\nreturn y;\n}\n" * (MEGABYTE // 21),
    "health": "patient diagnosed insulin surgery " * (MEGABYTE // 34),
    "phones": "+1 415 555 2671 " * (MEGABYTE // 16),
    "capitals": "Anna Maria " * (MEGABYTE // 11),
    "spaces": " " * MEGABYTE,
    "braces": "{" * MEGABYTE,
    "ignore": "ignore all the the your " * (MEGABYTE // 24),
    "zero width": "\u200b" * (MEGABYTE // 3),
    "accents": "é" * (MEGABYTE // 2),
    "dollars": "$2a$" * (MEGABYTE // 4),
    "streets": "12 Kings Road, " * (MEGABYTE // 15),
}


def cost(work, *arguments):
    start = time.process_time()
    work(*arguments)
    return time.process_time() - start


def a_million_steps():
    sum(n & 1 for n in range(1_000_000))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", WORST)
def test_the_worst_megabyte_takes_linear_time(name, config):
    """Four times the text takes about four times the time, sixteen times if it were quadratic; and a megabyte as much
    as some million steps of Python, of which the dearest takes some sixty million.

    Each against the other in one run, and again when something else held the machine: seconds say nothing.
    """
    quarter, whole = WORST[name][: len(WORST[name]) // 4], WORST[name]
    tries = (
        (cost(a_million_steps), cost(found, quarter, config), cost(found, whole, config)) for _ in range(4)
    )
    assert any(most < 8 * part + 0.1 and most < 130 * step for step, part, most in tries)


def test_all_detectors_on_one_text(config):
    """Every case of every detector, one after the other: all of their classes."""
    text = "\n\n".join(expand(case) for d in config.detectors for case in itertools.islice(d.fires, 1))
    classes = {hit.data_class for hit in found(text, config)}
    assert classes >= set(dlp.DATA_CLASSES) - {"exact-match", "fingerprint-match", "custom", "person-name"}

"""Source code by language; prose, data and markup are none."""

import random

import pytest

from sensor.proxy import dlp
from tests.sensor.proxy.dlp import corpus, values

NAMES = {"typescript": "javascript", "cpp": "c", "kotlin": "java"}


@pytest.fixture(scope="module")
def config():
    return dlp.open_config()


@pytest.mark.parametrize("kind", values.CODE)
def test_language(kind, config):
    for text in values.CODE[kind]:
        hits = dlp.scan([dlp.Text("x", f"Please explain:\n\n{text}\nThanks a lot.")], config).hits
        assert [h.detector for h in hits] == [f"code-{NAMES.get(kind, kind)}"]
        assert hits[0].heuristic


def test_a_long_text_is_looked_at_in_a_few_places_only(config):
    text = "\n\n".join(values.CODE["python"][0] + corpus.prose(random.Random(1), 12) for _ in range(50))
    assert 1 <= len(dlp.scan([dlp.Text("x", text)], config).hits) <= 4


def test_prose_and_data_are_no_code(config):
    for text in (
        "1;2;3;\n4;5;6;\n7;8;9;\n",
        "{\n {\n }\n}\n",
        "Dear Jane,\nthank you;\nuntil then;\nJoe\n",
        "- a:\n- b:\n- c:\n",
    ):
        assert dlp.scan([dlp.Text("x", text)], config).hits == ()

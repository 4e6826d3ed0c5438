"""Precision and recall, on the same corpus that `make bench-dlp` prints the table of."""

import pytest

from sensor.proxy import dlp
from tests.sensor.proxy.dlp import bench, corpus


@pytest.fixture(scope="module")
def config() -> dlp.Config:
    return dlp.open_config(site=bench.site())


@pytest.mark.parametrize("seed", [1, 20])
def test_every_class_is_found_and_nothing_else(seed, config):
    counts, _, wrong = bench.measure(corpus.corpus(seed), config)
    assert set(counts) == set(dlp.DATA_CLASSES)
    for name, (right, false, missed) in counts.items():
        assert right + missed >= 100, name
        assert right / (right + false) >= bench.PRECISION, (name, [w for w in wrong if name in w][:5])
        assert right / (right + missed) >= bench.RECALL, (name, [w for w in wrong if w.startswith(name)][:5])


def test_the_corpus_is_as_large_as_it_says_and_the_same_for_a_seed():
    samples = corpus.corpus(3)
    assert sum(bool(s.classes) for s in samples) >= 2_000
    assert sum(not s.classes for s in samples) >= 5_000
    assert samples == corpus.corpus(3) != corpus.corpus(4)
    assert len({s.kind for s in samples if "credentials" in s.classes}) >= 60


def test_a_measure_can_fail(config):
    wrong = corpus.Sample(frozenset({"iban"}), "nothing here", "x")
    surprise = corpus.Sample(frozenset(), "write to jane@corp.com", "x")
    counts, table, texts = bench.measure([wrong, surprise], config)
    assert counts["iban"] == [0, 0, 1]
    assert counts["email"] == [0, 1, 0]
    assert len(texts) == 2
    assert table["nothing"]["email"] == 1

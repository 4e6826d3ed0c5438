"""Keywords: all of them in one pass, also those inside others; and clusters of different ones."""

from sensor.proxy.dlp.keywords import Found, Keywords, clusters, merged


def words(keywords, data):
    return {(f.keyword, f.start, f.owners) for f in keywords.find(data, 0, len(data))}


def test_keywords_inside_others_are_found_with_them():
    keywords = Keywords({"auth_token": {1}, "token": {2, 3}}, {}, {})
    assert words(keywords, b"x AUTH_TOKEN y") == {("auth_token", 2, (1,)), ("token", 7, (2, 3))}


def test_whole_words_count_only_as_words():
    keywords = Keywords({}, {"sin": {1}}, {})
    assert words(keywords, b"using since") == set()
    assert {f[0] for f in words(keywords, b"my_sin SIN: 1")} == {"sin"}


def test_triggers():
    keywords = Keywords({"abc": {1}}, {}, {"[a-z]@[a-z]": 7})
    assert {f[2] for f in words(keywords, b"abc x@y")} == {(1,), (7,)}


def test_letters_beyond_ascii():
    assert words(Keywords({"straße": {1}}, {}, {}), "Die STRAßE".encode()) == {("straße", 4, (1,))}


def test_without_keywords_nothing_is_found():
    assert words(Keywords({}, {}, {}), b"anything") == set()


def test_a_keyword_across_two_steps_is_found_once():
    keywords = Keywords({"token": {1}}, {}, {})
    data = b"aa token bb"
    found = [f for at in range(0, len(data), 5) for f in keywords.find(data, at, at + 5)]
    assert [f.start for f in found] == [3]


def test_merged_ranges_are_in_order_and_within_the_text():
    assert merged([(5, 9), (-3, 2), (8, 20), (1, 3)], 12) == [(0, 3), (5, 12)]


def found(*items):
    return [Found(at, at + len(word), word, (0,)) for at, word in items]


def test_clusters_need_different_words_close_together():
    assert list(clusters(found((0, "aa"), (10, "aa"), (20, "aa")), 2, 100)) == []
    assert list(clusters(found((0, "aa"), (10, "bb"), (500, "cc"), (510, "dd")), 2, 100)) == [
        (0, 12, 2),
        (500, 512, 2),
    ]
    assert list(clusters(found((0, "aa"), (90, "bb"), (180, "cc")), 2, 100)) == [(0, 182, 3)]
    assert list(clusters(found((0, "aa"), (200, "bb")), 2, 100)) == []

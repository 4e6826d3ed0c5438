"""What only a site knows: names, words, hashed lists and documents."""

import pytest

from sensor.proxy import dlp
from sensor.proxy.dlp import site as lists
from tests.sensor.proxy.dlp.values import DOCUMENT

KEY = b"k" * 32


def hits(text, **fields):
    config = dlp.Config((), dlp.Site(key=KEY, **fields))
    return [(h.data_class, text[h.start : h.end]) for h in dlp.scan([dlp.Text("x", text)], config).hits]


def test_names_given_first_or_last():
    names = frozenset({"anna weber", "jean-luc o'brien"})
    assert hits("Ask Anna Weber, or Weber, Anna; anna weber is too common.", names=names) == [
        ("person-name", "Anna Weber"),
        ("person-name", "Weber, Anna"),
    ]
    assert hits("Dear Jean-Luc O'Brien.", names=names) == [("person-name", "Jean-Luc O'Brien")]
    assert hits("Anna Schmidt met Karl Weber", names=names) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Chief Financial Officer Anna Weber said", "Anna Weber"),
        ("One Two Three Four Five Jean-Luc O’Brien Six Seven", "Jean-Luc O’Brien"),
        ("for Anna\u00a0Weber.", "Anna\u00a0Weber"),
        ("for Anna  Weber.", "Anna  Weber"),
    ],
)
def test_names_among_other_capitals_and_as_word_processors_write_them(text, name):
    names = frozenset({"anna weber", "jean-luc o'brien"})
    assert hits(text, names=names) == [("person-name", name)]
    assert hits(text, exact=exact("Anna Weber", "Jean-Luc O’Brien")) == [("exact-match", name)]


def test_words_count_as_words():
    found = hits("Project NIGHTJAR, nightjars, xnightjar", words={"p": ("Nightjar",)})
    assert found == [("custom", "NIGHTJAR")]


@pytest.mark.parametrize(
    "text",
    [
        "„Nightjar“ ist geheim",
        "«Nightjar»",
        "Nightjar’s plan",
        "the\u00a0Nightjar…",
        "弊社のNightjarは",
        "極秘Nightjar。",
    ],
)
def test_a_word_ends_at_any_sign_and_at_scripts_without_spaces(text):
    assert hits(text, words={"p": ("Nightjar",)}) == [("custom", "Nightjar")]


def test_words_of_scripts_without_spaces_are_found_within_a_sentence():
    assert hits("弊社の富士計画は極秘", words={"p": ("富士計画",)}) == [("custom", "富士計画")]


@pytest.mark.parametrize("gap", [" ", "  ", "\n", "\r\n    ", "\t", "\u00a0", "\u202f", "\u3000", "\\n"])
@pytest.mark.parametrize("entry", ["Project Nightjar", "project  nightjar"])
def test_words_that_belong_together_whatever_is_between_them(gap, entry):
    text = f"about Project{gap}Nightjar, ProjectNightjar and Project-Nightjar"
    assert hits(text, words={"p": (entry,)}) == [("custom", f"Project{gap}Nightjar")]


def test_a_word_within_words_that_belong_together():
    words = {"p": ("Project Nightjar",), "q": ("Nightjar",)}
    assert [value for _, value in hits("a Project\nNightjar", words=words)] == ["Project\nNightjar"]


@pytest.mark.parametrize("text", ["éNightjar", "Nightjarß", "Nightjar\u0301", "яNightjar"])
def test_letters_beyond_ascii_go_on_with_a_word(text):
    assert hits(text, words={"p": ("Nightjar",)}) == []


def exact(*values):
    return (lists.Exact("customers", frozenset(lists.hash_value(KEY, v) for v in values)),)


def test_hashed_values_however_they_are_written():
    values = exact("KD-000123-11", "1234 5678 90", "jane@corp.com", "Jane Q Doe")
    assert hits("(kd-000123-11), 1234567890 12345-678-90 JANE@corp.com", exact=values) == [
        ("exact-match", "kd-000123-11"),
        ("exact-match", "1234567890"),
        ("exact-match", "12345-678-90"),
        ("exact-match", "JANE@corp.com"),
    ]
    assert hits("We met Jane Q Doe there", exact=values) == [("exact-match", "Jane Q Doe")]
    assert hits("KD-000123-12 1234567891 Jane Doe", exact=values) == []


@pytest.mark.parametrize("value", ["", "ab1", "word", "one two three four five"])
def test_values_that_common_text_has_are_refused(value):
    with pytest.raises(lists.ListError):
        lists.hash_value(KEY, value)


def document(similarity=0.5):
    hashes = frozenset(h for _, h in lists.shingles(DOCUMENT.encode(), KEY))
    return (lists.Document("move", hashes, similarity),)


def test_parts_of_a_document_are_found_and_quotes_are_not():
    part = DOCUMENT[: len(DOCUMENT) * 2 // 3]
    assert [h[0] for h in hits(f"Look at this:\n{part.upper()}", documents=document())] == [
        "fingerprint-match"
    ]
    assert [h[0] for h in hits(part.replace(" ", "\n  "), documents=document())] == ["fingerprint-match"]
    assert hits(DOCUMENT[:150], documents=document()) == []
    assert hits(part, documents=document(similarity=0.95)) == []
    assert hits("Entirely other text about gardens and bees. " * 40, documents=document()) == []


def test_files_can_be_read_back(tmp_path):
    one, two = tmp_path / "a", tmp_path / "b"
    values, shown = exact("KD-000123-11")[0], document()[0]
    one.write_text(lists.write_list("customers", values.hashes))
    two.write_text(lists.write_document("move", shown.shingles, 0.5))
    assert lists.read_hashed(one) == values
    assert lists.read_hashed(two) == shown
    names = tmp_path / "names.txt"
    names.write_text("# staff\nAnna  Weber\n\nWeber, Karl\n")
    site = dlp.open_site(["DE"], [names], [], [one, two], KEY)
    assert site.names == {"anna weber", "weber karl"}
    assert (site.exact, site.documents, site.regions) == ((values,), (shown,), ("DE",))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", ":1: not a hashed list"),
        ("something else\n", ":1: not a hashed list"),
        ("aiscope-list-1 BAD NAME\n", ":1: not a hashed list"),
        ("aiscope-document-1 x 7\n0123456789abcdef\n", ":1: not a hashed list"),
        ("aiscope-document-1 x nan\n0123456789abcdef\n", ":1: not a hashed list"),
        ("aiscope-list-1 x\n0123456789abcdef\nplain value\n", ":3: not sixteen"),
    ],
)
def test_files_that_are_wrong_say_where(tmp_path, text, reason):
    path = tmp_path / "list"
    path.write_text(text)
    with pytest.raises(lists.ListError, match=reason):
        lists.read_hashed(path)


def test_what_a_site_cannot_use(tmp_path):
    path = tmp_path / "list"
    path.write_text(lists.write_list("x", [b"12345678"]))
    with pytest.raises(lists.ListError, match="need the key"):
        dlp.open_site(hashed=[path])
    path.write_bytes(b"\xff\n")
    with pytest.raises(lists.ListError, match="not UTF-8 at byte 0"):
        dlp.open_site(names=[path])
    with pytest.raises(lists.ListError, match="lower case"):
        lists.write_list("Two Words", [])

"""Detector files: every error at once, with file, line and key."""

import pytest

from sensor.proxy.dlp.load import MAX_DETECTORS, DetectorError, load

GOOD = """about: mine
defaults: {data_class: custom, severity: low, confidence: high}
detectors:
  - id: part-number
    name: Part number
    pattern: '\\b(PX-\\d{6})\\b'
    keywords: [px-]
    fires: ['PX-123456']
    silent: [PX-12]
"""


def problems(folder):
    with pytest.raises(DetectorError) as error:
        load([folder])
    return [str(problem) for problem in error.value.problems]


def test_defaults_are_merged_and_a_later_folder_wins(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, severity in ((first, "low"), (second, "high")):
        folder.mkdir()
        (folder / "x.yaml").write_text(GOOD.replace("severity: low", f"severity: {severity}"))
    assert [(d.id, d.severity) for d in load([first, second])] == [("part-number", "high")]


def test_everything_that_is_wrong_is_said_at_once(tmp_path):
    (tmp_path / "a.yaml").write_text(
        GOOD.replace("severity: low", "severity: bad").replace("PX-12]", "'{{x:1}}']")
    )
    (tmp_path / "b.yaml").write_text(GOOD.replace("\\d{6})", "\\d{6}").replace("keywords", "keyword"))
    (tmp_path / "c.yaml").write_text("about: [")
    (tmp_path / "d.yaml").write_text(GOOD + "    validate: [luhn, nonsense, stdnum xx.yy, entropy x]\n")
    (tmp_path / "e.yaml").write_text(GOOD)
    said = problems(tmp_path)
    assert [line.partition(": ")[0] for line in said] == [
        "a.yaml:4",
        "b.yaml:6",
        "b.yaml:7",
        "c.yaml:1",
        *["d.yaml:4"] * 3,
        "e.yaml:4",
    ][: len(said)] or said
    text = "\n".join(said)
    for part in (
        "part-number.severity",
        "not a pattern of RE2",
        "part-number.keyword",
        "nonsense",
        "python-stdnum has no 'xx.yy'",
        "no argument of entropy",
        "also in d.yaml",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("'\\b(PX-\\d{6})\\b'", "'x*'", "matches nothing at all"),
        ("'\\b(PX-\\d{6})\\b'", "'(?=x)ab'", "not a pattern of RE2"),
        ("'\\b(PX-\\d{6})\\b'", "'(?:a{900}){900}'", "not a pattern of RE2"),
        ("    keywords: [px-]\n", "    keywords: [x]\n", "at least 3 characters"),
        ("    keywords: [px-]\n", "    terms: [abc]\n", "give one of pattern, terms and marks"),
        ("    keywords: [px-]\n", "    needs_context: true\n", "needs_context without context"),
        ("    fires: ['PX-123456']\n", "", "Field required"),
        ("    silent: [PX-12]\n", "", "Field required"),
        ("    silent: [PX-12]\n", "    silent: ['{{digits}}']\n", "unknown field {{digits}}"),
        ("id: part-number", "id: Part Number", "pattern"),
        ("data_class: custom", "data_class: other", "Input should be"),
        ("about: mine", "about: mine\nmore: 1", "Extra inputs"),
        ("defaults: {data_class: custom, severity: low, confidence: high}", "defaults: 3", "defaults"),
    ],
)
def test_what_is_refused(tmp_path, old, new, reason):
    assert old in GOOD
    (tmp_path / "a.yaml").write_text(GOOD.replace(old, new))
    assert reason in "\n".join(problems(tmp_path))


def test_too_many(tmp_path):
    entry = GOOD.partition("detectors:\n")[2]
    head = GOOD.partition("detectors:\n")[0] + "detectors:\n"
    for part in range(6):
        body = "".join(entry.replace("part-number", f"p{part}-{n}") for n in range(1_000))
        (tmp_path / f"{part}.yaml").write_text(head + body)
    assert f"more than {MAX_DETECTORS} detectors" in "\n".join(problems(tmp_path))

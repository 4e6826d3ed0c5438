"""A detector file's format as types, and its JSON Schema. `docs/dlp.md` explains it."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

import re2
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from sensor.knowledge.policy_model import DataClass
from sensor.proxy.dlp.model import Confidence, Severity
from sensor.proxy.dlp.written import one_way

# RE2's own bound on a program; a pattern that needs more is refused when it is loaded.
_MEMORY = 16 << 20


# Written in patterns as `{{assign}}` and `{{end}}`: from a name to the value it is given, in code, configuration,
# JSON, headers and command lines; and that a token does not go on. `{{letter}}`, within a class: letters that a
# number's neighbour must not be. Chinese, Japanese and Thai have no spaces, Korean has particles at its words: there
# a number stands between letters.
_PIECES = {
    "{{letter}}": r"\p{Latin}\p{Greek}\p{Cyrillic}\p{Armenian}\p{Georgian}\p{Hebrew}\p{Arabic}\p{Ethiopic}"
    r"\p{Devanagari}\p{Bengali}\p{Gurmukhi}\p{Gujarati}\p{Tamil}\p{Telugu}\p{Kannada}\p{Malayalam}\p{Sinhala}",
    "{{assign}}": r"""[\w.\- \t]{0,32}\\?["'\x60\]]{0,2}[ \t]{0,3}"""
    r"""(?:=>|:{1,3}=|\?{1,2}=|[.+]=|==|=|:|,|\(|>)\s{0,8}\\?["'\x60]?""",
    "{{end}}": r"(?:[^A-Za-z0-9_\-+/=]|$)",
}


def expanded(pattern: str) -> str:
    """A pattern with its pieces written out."""
    for name, text in _PIECES.items():
        pattern = pattern.replace(name, text)
    return pattern


@lru_cache(8_192)  # each is compiled when its file is checked and when it is used; re2 itself keeps 128
def compiled(pattern: str) -> Any:
    """A pattern over UTF-8 bytes, in linear time whatever the input. Raises ValueError."""
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    try:
        return re2.compile(expanded(pattern).encode(), options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"not a pattern of RE2: {text}") from None


def _pattern(text: str) -> str:
    found = compiled(text)
    if found.search(b"") is not None:
        raise ValueError("the pattern matches nothing at all: it would match everywhere")
    return text


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[\x21-\x7e]+$", max_length=500)]
Pattern = Annotated[str, StringConstraints(min_length=2, max_length=2000), AfterValidator(_pattern)]
Word = Annotated[str, StringConstraints(min_length=2, max_length=100, to_lower=True), AfterValidator(one_way)]
Keyword = Annotated[
    str, StringConstraints(min_length=3, max_length=100, to_lower=True), AfterValidator(one_way)
]
Check = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*( [\x21-\x7e]+)?$", max_length=60)]
Sample = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
Samples = Annotated[tuple[Sample, ...], BeforeValidator(_listed)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Detector(_Model):
    """One kind of thing to find: by `pattern`, by several `terms` close together, or by `marks` of a language."""

    id: Id
    name: Line
    data_class: DataClass
    severity: Severity
    confidence: Confidence
    pattern: Annotated[tuple[Pattern, ...], BeforeValidator(_listed)] = Field(
        default=(), description="RE2, of which any may match; group 1, where there is one, is what was found"
    )
    keywords: tuple[Keyword, ...] = Field(
        default=(), description="the pattern is tried only near one of these, case aside"
    )
    trigger: Pattern | None = Field(default=None, description="likewise, near a match of this short pattern")
    digits: bool = Field(default=False, description="the pattern is tried only near six digits or more")
    reach: Annotated[int, Field(ge=16, le=65_536)] = Field(
        default=256, description="bytes before and after a keyword that a match may take"
    )
    terms: tuple[Keyword, ...] = Field(default=(), description="words that count, case aside")
    marks: tuple[Pattern, ...] = Field(default=(), description="RE2, each a sign of the same language")
    distinct: Annotated[int, Field(ge=1, le=50)] = Field(
        default=3, description="how many different terms or marks it takes"
    )
    within: Annotated[int, Field(ge=16, le=65_536)] = Field(
        default=1_000, description="bytes in which these terms must be"
    )
    context: tuple[Word, ...] = Field(
        default=(), description="words whose nearness raises the confidence by one"
    )
    needs_context: bool = Field(
        default=False, description="nothing is found without one of the context words"
    )
    deny: tuple[Word, ...] = Field(
        default=(),
        description="words just before that say it is something else, unless context says otherwise",
    )
    validate_: Annotated[tuple[Check, ...], BeforeValidator(_listed)] = Field(
        default=(), alias="validate", description="checks that what was found must pass; see docs/dlp.md"
    )
    heuristic: bool = Field(default=False, description="a sign, not proof; shown as such")
    sources: tuple[Url, ...] = Field(default=(), description="where the format is documented")
    fires: Samples = Field(min_length=1, description="at least one text in which it is found")
    silent: Samples = Field(min_length=1, description="at least one that looks like it and is not")

    @model_validator(mode="after")
    def _one_way(self) -> Detector:
        if sum(map(bool, (self.pattern, self.terms, self.marks))) != 1:
            raise ValueError("give one of pattern, terms and marks")
        if self.needs_context and not self.context:
            raise ValueError("needs_context without context")
        if (self.keywords or self.digits or self.trigger) and not self.pattern:
            raise ValueError("keywords, trigger and digits go with a pattern")
        if self.distinct > max(len(self.terms), len(self.marks), 3):
            raise ValueError("distinct asks for more than there are")
        return self


class DetectorFile(_Model):
    """A file of `signatures/detectors/`, or of your own."""

    about: Line
    detectors: Annotated[tuple[Detector, ...], Field(min_length=1)]


def json_schema() -> dict[str, Any]:
    """JSON Schema of a detector file, for editors. `defaults` is merged into every detector before it is checked."""
    schema = DetectorFile.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "aiscope detector file"
    detector = schema["$defs"]["Detector"]
    for name in ("pattern", "validate", "fires", "silent"):  # one may be written without its list
        prop = detector["properties"][name]
        item = prop["items"]
        kept = {key: prop.pop(key) for key in ("type", "items", "minItems") if key in prop}
        prop["anyOf"] = [kept, item]
    loosened = {key: value for key, value in detector["properties"].items() if key != "id"}
    schema["properties"]["defaults"] = {
        "type": "object",
        "description": "keys that every detector of the file has unless it says otherwise",
        "properties": loosened,
        "additionalProperties": False,
    }
    detector["required"] = [
        key for key in detector["required"] if key not in ("data_class", "severity", "confidence")
    ]
    return schema

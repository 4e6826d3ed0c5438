"""What SQL may run. A statement is judged by the engine's own parser, and what was judged is what runs.

1. The text goes as a bound parameter to `formatQuerySingleLine`, which refuses several statements and strips
   comments. Only its output is looked at from there on.
2. FORMAT and SETTINGS at its end, on either side of it, are lifted out; `SHOW`, `DESCRIBE` and `EXISTS` are written
   anew from their names.
3. The syntax tree of what is left (`EXPLAIN AST`) may contain only node kinds, functions and tables that are listed.

The tree is printed, one node a line. A name with a line break could print lines that are no nodes: such names are
refused. What the printer leaves out (SETTINGS inside, column transformers, APPLY) has a node kind that is not listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from typing import NoReturn

from collector.engine import Engine, escaped, identifier, literal
from collector.errors import Refused

DATABASE = "aiscope"
MAX_STATEMENT = 256 << 10  # bytes; ClickHouse's own max_query_size

SYSTEM = frozenset(
    ("system", name) for name in ("settings", "databases", "tables", "columns", "functions", "one", "numbers")
)
_TABLE_FUNCTIONS = frozenset({"numbers", "generateSeries", "generate_series"})
_KINDS = frozenset(
    """SelectWithUnionQuery SelectIntersectExceptQuery SelectQuery ExpressionList Function Literal Identifier Asterisk
    TableIdentifier QualifiedAsterisk TablesInSelectQuery TablesInSelectQueryElement TableExpression TableJoin ArrayJoin
    Subquery WithElement OrderByElement WindowDefinition WindowListElement SampleRatio""".split()  # noqa: SIM905
)
_IN = re.compile(r"(global)?(not)?(null)?in(ignoreset)?", re.IGNORECASE)
_COMBINATORS = re.compile(
    r"(If|Array|Map|Distinct|OrDefault|OrNull|Resample|State|SimpleState|Merge|MergeState|ForEach|ArgMin|ArgMax)$"
)

_QUOTED = r"'(?:[^'\\]|\\.)*'"
_NAME = r"(?:`(?:[^`\\])+`|[A-Za-z_]\w*)"
_TABLE = rf"(?:(?P<database>{_NAME})\.)?(?P<table>{_NAME})"
_SETTING = rf"\w+ = (?:{_QUOTED}|[-\w.]+)"
_FORMAT_END = re.compile(r" FORMAT `?(\w+)`?$")  # those that are words of SQL, Null and Values, come quoted
_SETTINGS_END = re.compile(rf" SETTINGS ({_SETTING}(?:, {_SETTING})*)$")
_LIKE = rf"(?: (?P<like>(?:NOT )?I?LIKE {_QUOTED}))?(?: LIMIT (?P<limit>\d+))?"
_SHOW_DATABASES = re.compile(rf"SHOW DATABASES{_LIKE}")
_SHOW_TABLES = re.compile(rf"SHOW TABLES(?: FROM (?P<database>{_NAME}))?{_LIKE}")
_SHOW_CREATE = re.compile(rf"SHOW CREATE (?:TABLE|VIEW) {_TABLE}")
_DESCRIBE = re.compile(rf"DESCRIBE TABLE {_TABLE}")
_DESCRIBE_ROWS = re.compile(r"DESCRIBE TABLE \((?P<inner>SELECT .*|WITH .*)\)")
_EXISTS = re.compile(rf"EXISTS (?:TABLE |VIEW )?{_TABLE}")
_EXPLAIN = re.compile(r"(?P<how>EXPLAIN(?: PLAN| PIPELINE| ESTIMATE| SYNTAX)?) (?P<inner>(?:SELECT|WITH) .*)")

# No two repetitions that could share the same spaces: 256 KB of them would be tried in every division.
_INSERT = re.compile(
    rf"\s*INSERT\s+INTO\s+(?:TABLE\s+)?{_TABLE}(?:\s*\((?P<columns>[^()]*)\))?\s*"
    rf"(?:SETTINGS\s+(?P<settings>\w+\s*=\s*(?:{_QUOTED}|[-\w.]+)(?:\s*,\s*\w+\s*=\s*(?:{_QUOTED}|[-\w.]+))*)\s*)?"
    r"FORMAT\s+(?P<form>\w+)[ \t\f]*(?:\r?\n)?",
    re.IGNORECASE,
)
_INPUT_FORMATS = frozenset(
    """Native Arrow ArrowStream Parquet RowBinary RowBinaryWithNames RowBinaryWithNamesAndTypes JSONEachRow
    JSONCompactEachRow CSV CSVWithNames CSVWithNamesAndTypes TSV TSVWithNames TSVWithNamesAndTypes TabSeparated
    TabSeparatedWithNames TabSeparatedWithNamesAndTypes""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that may run: its text, an output or input format if it named one, and its own settings."""

    text: str
    form: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Insert:
    """`INSERT INTO table (columns) FORMAT form`; columns as written, none when left out."""

    database: str
    table: str
    columns: tuple[str, ...]
    form: str
    settings: Mapping[str, str]
    data: int  # where the data begins in the text


@dataclass(frozen=True, slots=True)
class Rights:
    """What a role may read (database, table), describe, and insert into (tables of `aiscope`)."""

    reads: frozenset[tuple[str, str]]
    describes: frozenset[tuple[str, str]]
    inserts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Node:
    """One line of the printed tree. `head` is what follows the kind, without alias and number of children."""

    kind: str
    head: str
    parent: Node | None
    position: int


class Gate:
    """Judges statements with an engine's parser. The schema must not change while it does."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @cached_property
    def _allowed(self) -> frozenset[str]:
        text = (files("collector") / "functions.txt").read_text("utf-8")
        return frozenset(
            word for line in text.splitlines() if not line.startswith("#") for word in line.split()
        )

    @cached_property
    def _forbidden(self) -> frozenset[str]:
        """Names of functions that are not listed, lower case; columns of the store may be called like one."""
        known = self._engine.value("SELECT lower(name) FROM system.functions").split("\n")
        columns = self._engine.value(
            f"SELECT DISTINCT lower(name) FROM system.columns WHERE database = '{DATABASE}'"
        )
        return (
            frozenset(known)
            - {name.lower() for name in self._allowed}
            - frozenset(columns.split("\n"))
            - {""}
        )

    @cached_property
    def tables(self) -> frozenset[str]:
        """All tables of the store."""
        names = self._engine.value(f"SELECT name FROM system.tables WHERE database = '{DATABASE}'")
        return frozenset(names.split())

    def canonical(self, text: str) -> str:
        """The one statement in the engine's own words. Refused when it is none, several, or not to be printed."""
        if len(text.encode()) > MAX_STATEMENT:
            raise Refused("QUERY_IS_TOO_LARGE", f"a statement may have {MAX_STATEMENT} bytes")
        if "\0" in text:
            raise Refused("SYNTAX_ERROR", "a NUL byte is no SQL")
        line = self._engine.value("SELECT formatQuerySingleLine({q:String})", {"q": escaped(text)})
        line = line.removesuffix("\n")
        names = re.sub(_QUOTED, "''", line)
        if "\\" in names or not names.isprintable():
            raise Refused("SYNTAX_ERROR", "names with control characters or backslashes are not supported")
        return line

    def read(self, text: str, parameters: Mapping[str, str], rights: Rights) -> Statement:
        """A statement that only reads what these rights give, as it may run. Refused otherwise."""
        line = self.canonical(text)
        line, last = _lift(_SETTINGS_END, line)
        line, form = _lift(_FORMAT_END, line)
        line, first = _lift(_SETTINGS_END, line)
        return Statement(self._rebuilt(line, parameters, rights), form, _pairs(first) | _pairs(last))

    def _rebuilt(self, line: str, parameters: Mapping[str, str], rights: Rights) -> str:
        if line.startswith(("SELECT ", "WITH ", "(SELECT ", "(WITH ")):
            self._check(line, parameters, rights)
            return line
        if line.startswith(("SHOW ", "DESCRIBE ", "EXISTS ")):
            return self._named(line, parameters, rights)
        if match := _EXPLAIN.fullmatch(line):
            self._check(match["inner"], parameters, rights)
            return line
        raise Refused(
            "ACCESS_DENIED",
            f"{line.split(' ')[0]}: only SELECT, SHOW, DESCRIBE, EXISTS, EXPLAIN and INSERT ... FORMAT may run here",
        )

    def _named(self, line: str, parameters: Mapping[str, str], rights: Rights) -> str:
        """SHOW, DESCRIBE and EXISTS, written anew."""
        if match := _SHOW_DATABASES.fullmatch(line):
            return _listing("SELECT name FROM system.databases WHERE name IN ('aiscope', 'system')", match)
        if match := _SHOW_TABLES.fullmatch(line):
            database = _plain(match["database"]) or DATABASE
            seen = sorted(name for owner, name in rights.reads | rights.describes if owner == database)
            chosen = ", ".join(map(literal, seen)) or "''"
            return _listing(
                f"SELECT name FROM system.tables WHERE database = {literal(database)} AND name IN ({chosen})",
                match,
            )
        if match := _DESCRIBE_ROWS.fullmatch(line):
            self._check(match["inner"], parameters, rights)
            return line
        for pattern, words in (
            (_SHOW_CREATE, "SHOW CREATE TABLE"),
            (_DESCRIBE, "DESCRIBE TABLE"),
            (_EXISTS, "EXISTS TABLE"),
        ):
            if match := pattern.fullmatch(line):
                database, table = _plain(match["database"]) or DATABASE, _plain(match["table"])
                if (database, table) not in rights.reads | rights.describes:
                    _denied(f"{database}.{table}")
                return f"{words} {identifier(database)}.{identifier(table)}"
        raise Refused("NOT_IMPLEMENTED", f"{line[:60]}: this form of the statement is not supported here")

    def _check(self, line: str, parameters: Mapping[str, str], rights: Rights) -> None:
        for node in _tree(self._engine.value(f"EXPLAIN AST {line}", parameters)):
            self._check_node(node, rights)

    def _check_node(self, node: Node, rights: Rights) -> None:
        parent = node.parent
        if node.kind not in _KINDS:
            raise Refused("SUPPORT_IS_DISABLED", f"{node.kind}: this part of SQL is not supported here")
        if parent and parent.kind == "SelectWithUnionQuery" and node.kind != "ExpressionList":
            raise Refused(
                "ACCESS_DENIED", "INTO OUTFILE, FORMAT and SETTINGS inside a statement are not allowed"
            )
        if node.kind == "Function":
            self._check_function(node.head, table=parent is not None and parent.kind == "TableExpression")
        elif node.kind == "TableIdentifier":
            self._check_table(node.head, rights)
        elif node.kind == "Identifier":
            if node.head.rpartition(".")[2].strip("`").lower() in self._forbidden:
                raise Refused("ACCESS_DENIED", f"{node.head}: not a function that may be used here")
            if node.position == 1 and _in_function(parent):
                self._check_table(node.head, rights)

    def _check_function(self, name: str, table: bool) -> None:
        allowed = name in _TABLE_FUNCTIONS if table else self._listed(name)
        if not allowed:
            raise Refused("ACCESS_DENIED", f"{name}: not a {'table ' * table}function that may be used here")

    def _listed(self, name: str) -> bool:
        """In the list, in any case (SQL's `COUNT`), or an aggregate of it with combinators."""
        while name.lower() not in self._folded:
            shorter = _COMBINATORS.sub("", name)
            if shorter == name:
                return False
            name = shorter
        return True

    @cached_property
    def _folded(self) -> frozenset[str]:
        return frozenset(name.lower() for name in self._allowed)

    def _check_table(self, name: str, rights: Rights) -> None:
        """A name with its database must be one of the rights'; one without may also be of the statement's own WITH."""
        database, dot, table = name.rpartition(".")
        if (database or DATABASE, table) in rights.reads:
            return
        if dot or table in self.tables:
            _denied(name)


def insert(text: str) -> Insert | None:
    """The head of an INSERT with data in a format; None when the text begins otherwise."""
    match = _INSERT.match(text)
    if match is None:
        return None
    columns = [_plain(part.strip()) for part in (match["columns"] or "").split(",") if part.strip()]
    settings = re.sub(r"\s*=\s*", " = ", match["settings"] or "")
    return Insert(
        _plain(match["database"]) or DATABASE,
        _plain(match["table"]),
        tuple(columns),
        match["form"],
        _pairs(settings),
        match.end(),
    )


def check_insert(wanted: Insert, rights: Rights) -> None:
    """Refused unless it goes into a table of the rights' in a format that needs nothing but its data."""
    if wanted.form not in _INPUT_FORMATS:
        raise Refused("UNKNOWN_FORMAT", f"{wanted.form}: rows come in {', '.join(sorted(_INPUT_FORMATS))}")
    if wanted.database != DATABASE or wanted.table not in rights.inserts:
        _denied(f"{wanted.database}.{wanted.table}")


def _tree(printed: str) -> list[Node]:
    """The nodes of `EXPLAIN AST`. Refused when a line is no node."""
    nodes: list[Node] = []
    open_nodes: list[Node] = []
    counts: dict[int, int] = {}
    for line in printed.splitlines():
        if not line:
            continue
        text = line.lstrip(" ")
        depth = len(line) - len(text)
        kind, _, head = re.sub(r" \(children \d+\)$", "", text).partition(" ")
        if depth > len(open_nodes) or not kind.isalpha():
            raise Refused("SYNTAX_ERROR", "the statement's tree cannot be read")
        del open_nodes[depth:]
        parent = open_nodes[-1] if open_nodes else None
        position = counts.get(id(parent), 0)
        counts[id(parent)] = position + 1
        node = Node(kind, re.sub(r" \(alias .*\)$", "", head), parent, position)
        nodes.append(node)
        open_nodes.append(node)
    return nodes


def _in_function(node: Node | None) -> bool:
    """Is this the argument list of an IN, whose right side may name a table?"""
    owner = node.parent if node and node.kind == "ExpressionList" else None
    return owner is not None and owner.kind == "Function" and bool(_IN.fullmatch(owner.head))


def _lift(pattern: re.Pattern[str], line: str) -> tuple[str, str]:
    match = pattern.search(line)
    return (line[: match.start()], match[1]) if match else (line, "")


def _pairs(settings: str) -> dict[str, str]:
    found = {}
    for item in re.findall(rf"(\w+) = ({_QUOTED}|[-\w.]+)", settings):
        value = item[1]
        found[item[0]] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith("'") else value
    return found


def _plain(name: str | None) -> str:
    return (name or "").strip("`")


def _listing(select: str, match: re.Match[str]) -> str:
    like = f" AND name {match['like']}" if match["like"] else ""
    limit = f" LIMIT {match['limit']}" if match["limit"] else ""
    return f"{select}{like} ORDER BY name{limit}"


def _denied(name: str) -> NoReturn:
    raise Refused("ACCESS_DENIED", f"{name}: not a table that this user may use for this")

"""Compiled matchers: a name, an address or a request in clear to the service it belongs to.

Names: one dictionary, asked once per label. Which pattern wins is in `signatures/README.md`; in short: more
labels, then exact before suffix before glob, then more literal characters.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from sensor.frozen import dataclass
from sensor.knowledge.catalogue_rules import ServerRow

MAX_NAME = 255  # RFC 1035 2.3.4

# Paths that all kinds of web applications have.
# fmt: off
_EVERYDAY = frozenset(
    {
        "", "api", "app", "chat", "complete", "config", "docs", "generate", "health", "healthz", "info", "invoke",
        "live", "metrics", "model", "models", "ping", "predict", "prompt", "query", "queue", "ready", "responses",
        "run", "search", "status", "stream", "tags", "upload", "v1", "v2", "v3", "version", "view", "ws",
    }
)
# Paths that several model servers have: they name none of them, and are rare enough to be looked at.
_MODELS = frozenset(
    {
        "completion", "completions", "embed", "embeddings", "infer", "invocations", "messages", "predictions",
        "rerank", "sse",
    }
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Match:
    """The service something belongs to, and the rule that says so."""

    service: str
    vendor: str
    category: str
    role: str  # of the catalogue; "" for an address, which has none
    rule: str  # as the catalogue writes it: `chatgpt.com`, `160.79.104.0/23`, `github.com /copilot_internal/`


def ascii_name(name: str) -> str:
    """A host name in lower case, with A-labels (UTS 46), without the last dot. Raises ValueError."""
    if not name.isascii():
        import idna  # its tables are large, and hardly a name on a network needs them

        name = idna.encode(name, uts46=True, transitional=False).decode()  # IDNAError is a ValueError
    name = name.lower()
    return name[:-1] if name.endswith(".") else name


class _Globs:
    """Globs with the same tail and number of labels as one expression; the first that matches is the best."""

    def __init__(self, rules: Sequence[tuple[str, Match]]) -> None:
        self._rules = sorted(rules, key=lambda rule: (-literal(rule[0]), rule[0]))

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        # The group is behind its alternative, so that a wrong first character is seen at once.
        return re.compile("|".join(f"{glob_regex(pattern)}()" for pattern, _ in self._rules))

    def match(self, name: str) -> tuple[str, Match] | None:
        found = self._regex.fullmatch(name)
        return self._rules[found.lastindex - 1] if found and found.lastindex else None


class Names:
    """Host patterns. Later ones replace equal ones."""

    def __init__(self, rules: Iterable[tuple[str, Match]]) -> None:
        self._suffixes: dict[str, Match] = {}
        exact: dict[str, Match] = {}
        globs: dict[tuple[int, str], dict[str, Match]] = {}
        for pattern, match in rules:
            if pattern.startswith("="):
                exact[pattern[1:]] = match
            elif "*" in pattern:
                tail = pattern[pattern.rindex("*") :].partition(".")[2]
                globs.setdefault((pattern.count("."), tail), {})[pattern] = match
            else:
                self._suffixes[pattern] = match
        self._whole = self._suffixes | exact
        self._globs: dict[int, dict[str, _Globs]] = {}  # by the name's dots, then by their literal tail
        for (dots, tail), found in globs.items():
            self._globs.setdefault(dots, {})[tail] = _Globs(list(found.items()))
        # By the last two labels: how many dots the names below have at most that a pattern has or ends in.
        # Nearly every name on a network is not in it.
        self._depths: dict[str, int] = {}
        for name in (*self._whole, *(tail for _, tail in globs)):
            end, dots = _end(name), name.count(".")
            if dots > self._depths.get(end, -1):
                self._depths[end] = dots

    def match(self, name: str) -> Match | None:
        """The most specific rule for a name: U-labels or A-labels, any case, with or without the last dot."""
        if not name.isascii():
            try:
                name = ascii_name(name)
            except ValueError:  # not IDNA: no host name
                return None
        name = name.lower()
        if name[-1:] == ".":
            name = name[:-1]
        end = _end(name)
        depth = self._depths.get(end)
        if depth is None or len(name) > MAX_NAME:
            return None
        return self._whole.get(name) or self._above(name, end, depth)

    def _above(self, name: str, end: str, depth: int) -> Match | None:
        """A glob for the name, or the longest suffix it is under."""
        if name == end:
            return None
        dots = name.count(".")
        globs = self._globs.get(dots)
        suffix: Match | None = None
        found: list[tuple[str, Match]] = []
        rest = name.split(".", max(dots - depth, 1))[-1]
        while True:
            suffix = suffix or self._suffixes.get(rest)
            if globs is None:
                if suffix:
                    return suffix
            elif (rules := globs.get(rest)) and (rule := rules.match(name)):
                found.append(rule)
            if rest == end:
                break
            rest = rest[rest.find(".") + 1 :]
        if len(found) > 1:
            found.sort(key=lambda rule: (-literal(rule[0]), rule[0]))
        return found[0][1] if found else suffix


def _end(name: str) -> str:
    """Its last two labels."""
    return name[name.rfind(".", 0, max(name.rfind("."), 0)) + 1 :]


def literal(pattern: str) -> int:
    """Literal characters of a pattern."""
    return len(pattern) - pattern.count("*")


def glob_regex(pattern: str) -> str:
    """`*` stands for any characters within a label, at least one if it is the whole label."""
    labels = (re.escape(label).replace(r"\*", "[^.]*") for label in pattern.split("."))
    return r"\.".join("[^.]+" if label == "[^.]*" else label for label in labels)


class Networks:
    """CIDRs of vendors; the longest prefix wins."""

    def __init__(self, rules: Iterable[tuple[str, Match]]) -> None:
        self._rules: dict[tuple[int, int], dict[int, Match]] = {}
        for cidr, match in rules:
            network = ipaddress.ip_network(cidr)
            shift = network.max_prefixlen - network.prefixlen
            at = (network.version, shift)
            self._rules.setdefault(at, {})[int(network.network_address) >> shift] = match
        self._order = sorted(self._rules)  # shorter shifts first: longer prefixes

    def match(self, address: str) -> Match | None:
        """The rule for an address as text; IPv4 within IPv6 counts as IPv4. None for what is no address."""
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return None
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        for version, shift in self._order:
            if version == ip.version and (found := self._rules[version, shift].get(int(ip) >> shift)):
                return found
        return None


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a request in clear and of its response, if seen. Header names in lower case."""

    method: str
    port: int
    path: str
    headers: Mapping[str, str]
    response_headers: Mapping[str, str]
    body: bytes


class PathRule:
    """A path as the catalogue writes it, made ready when a path begins like it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._prefix = path_prefix(path)

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return path_regex(self._path)

    def holds(self, seen: Seen) -> bool:
        """Whether a request is for it."""
        return seen.path.startswith(self._prefix) and bool(self._regex.match(f"{seen.method} {seen.path}"))


class ServerRule:
    """An entry of `servers:` made ready."""

    def __init__(self, row: ServerRow, match: Match) -> None:
        self.row, self.match = row, match
        self._paths = [PathRule(path) for path in row.paths]

    @property
    def rank(self) -> tuple[int, bool, int, str]:
        """Smaller is more specific: more markers, then a port, then longer paths."""
        row = self.row
        markers = len(row.request_headers) + len(row.response_headers) + (row.body is not None)
        return (-markers, not row.ports, -max(map(literal, row.paths), default=0), self.match.service)

    def holds(self, seen: Seen) -> bool:
        """Whether everything the entry states is so."""
        row = self.row
        return (
            (not row.ports or seen.port in row.ports)
            and (not self._paths or any(path.holds(seen) for path in self._paths))
            and _headers_hold(row.request_headers, seen.headers)
            and _headers_hold(row.response_headers, seen.response_headers)
            and (row.body is None or row.body.encode() in seen.body)
        )


def _headers_hold(wanted: Mapping[str, str], seen: Mapping[str, str]) -> bool:
    return all(name in seen and text.lower() in seen[name].lower() for name, text in wanted.items())


def path_regex(path: str) -> re.Pattern[str]:
    """A path rule on `METHOD /path?query`. `*` is within a segment; the rule ends at the end of a segment."""
    exact, text = path.startswith("="), path.removeprefix("=")
    method, space, rest = text.partition(" ")
    method, rest = (re.escape(method), rest) if space else ("[A-Z]+", text)
    body = re.escape(rest).replace(r"\*", "[^/?]*")
    end = r"(?:\?|\Z)" if exact else ("" if rest.endswith("/") else r"(?:[/?]|\Z)")
    return re.compile(f"{method} {body}{end}")


def path_prefix(path: str) -> str:
    """The literal beginning of a path rule, without its method."""
    return path[path.index("/") :].partition("*")[0]


def is_everyday(prefix: str) -> bool:
    """Whether a path is one that any web server may have."""
    return prefix.strip("/") in _EVERYDAY


def is_common(prefix: str) -> bool:
    """Whether a path alone names no software."""
    return is_everyday(prefix) or prefix.strip("/") in _MODELS


class Requests:
    """Rules on requests in clear: shared hosts, then any host, then self-hosted software."""

    def __init__(self, rules: Sequence[tuple[str | None, str, Match]], servers: Sequence[ServerRule]) -> None:
        by_length = sorted(rules, key=lambda rule: (-literal(rule[1]), rule[2].rule))
        self._hosts: dict[str, list[tuple[PathRule, Match]]] = {}
        self._any: list[tuple[PathRule, Match]] = []
        for host, path, match in by_length:
            rules_here = self._any if host is None else self._hosts.setdefault(host, [])
            rules_here.append((PathRule(path), match))
        self._names = Names((host, Match("", "", "", "", host)) for host in self._hosts)
        # A rule with ports is only looked at for these.
        ranked = sorted(servers, key=lambda rule: rule.rank)
        self._servers = [rule for rule in ranked if not rule.row.ports]
        self._ports = {
            port: [rule for rule in ranked if not rule.row.ports or port in rule.row.ports]
            for port in {port for rule in ranked for port in rule.row.ports}
        }

    def shared(self, host: str, seen: Seen) -> Match | None:
        """A rule on this host's path."""
        owner = self._names.match(host)
        return _path_match(self._hosts[owner.rule], seen) if owner else None

    def anywhere(self, seen: Seen) -> Match | None:
        """A rule on the path of any host, then software that serves it."""
        found = _path_match(self._any, seen)
        if found:
            return found
        servers = self._ports.get(seen.port, self._servers)
        return next((rule.match for rule in servers if rule.holds(seen)), None)


def _path_match(rules: list[tuple[PathRule, Match]], seen: Seen) -> Match | None:
    return next((match for path, match in rules if path.holds(seen)), None)


class ClientClasses:
    """The class of a client. What it says of itself is more exact than its JA4, which many programs share."""

    def __init__(self, ja4: Mapping[str, str], agents: Sequence[tuple[str, str]]) -> None:
        """As in `Rules`."""
        self._ja4, self._agents = ja4, agents

    def of(self, ja4: str, user_agent: str = "") -> str:
        """ "" if not known."""
        said = user_agent[:512].lower()
        found = next((name for text, name in self._agents if text in said), "") if said else ""
        return found or self._ja4.get(ja4, "")

"""Compiled matchers: a name, an address or a request in clear to the service it belongs to.

Names: one dictionary, asked once per label. Which pattern wins is in `signatures/README.md`; in short: more
labels, then exact before suffix before glob, then more literal characters.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sensor.knowledge.catalogue_model import Server, ascii_name


@dataclass(frozen=True, slots=True)
class Match:
    """The service something belongs to, and the rule that says so."""

    service: str
    vendor: str
    category: str
    role: str  # of the catalogue; "" for an address, which has none
    rule: str  # as the catalogue writes it: `chatgpt.com`, `160.79.104.0/23`, `github.com /copilot_internal/`


@dataclass(slots=True)
class _Node:
    """What the catalogue says of one name."""

    exact: Match | None = None
    suffix: Match | None = None
    # by number of labels, most literal characters first; this name is their longest literal tail
    globs: dict[int, list[tuple[re.Pattern[str], Match]]] = field(default_factory=dict)


class Names:
    """Host patterns. Later ones replace equal ones."""

    def __init__(self, rules: Iterable[tuple[str, Match]]) -> None:
        self._nodes: dict[str, _Node] = {}
        globs: dict[str, Match] = {}
        for pattern, match in rules:
            if pattern.startswith("="):
                self._node(pattern[1:]).exact = match
            elif "*" in pattern:
                globs[pattern] = match
            else:
                self._node(pattern).suffix = match
        for pattern in sorted(globs, key=lambda text: (-literal(text), text)):
            self._add_glob(pattern, globs[pattern])

    def _node(self, name: str) -> _Node:
        return self._nodes.setdefault(name, _Node())

    def _add_glob(self, pattern: str, match: Match) -> None:
        tail = pattern[pattern.rindex("*") :].partition(".")[2]
        compiled = re.compile(glob_regex(pattern))
        self._node(tail).globs.setdefault(pattern.count("."), []).append((compiled, match))

    def match(self, name: str) -> Match | None:
        """The most specific rule for a name: U-labels or A-labels, any case, with or without the last dot."""
        try:
            name = ascii_name(name)
        except ValueError:  # not IDNA: no host name
            return None
        nodes = self._nodes
        node = nodes.get(name)
        if node is not None and (node.exact or node.suffix):
            return node.exact or node.suffix
        found: Match | None = None
        globs: list[tuple[re.Pattern[str], Match]] = []
        dots = -1
        at = name.find(".")
        while at >= 0:
            node = nodes.get(name[at + 1 :])
            if node is not None:
                found = found or node.suffix
                if node.globs:
                    dots = name.count(".") if dots < 0 else dots
                    globs += node.globs.get(dots, ())
            at = name.find(".", at + 1)
        return _first(globs, name) or found


def _first(globs: list[tuple[re.Pattern[str], Match]], name: str) -> Match | None:
    """Of the globs that match, the one with most literal characters. Mostly there are none, or one."""
    hits = [match for regex, match in globs if regex.fullmatch(name)]
    return min(hits, key=lambda match: (-literal(match.rule), match.rule)) if hits else None


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


@dataclass(frozen=True, slots=True)
class ServerRule:
    """An entry of `servers:` made ready."""

    server: Server
    paths: tuple[re.Pattern[str], ...]
    match: Match

    @property
    def rank(self) -> tuple[int, bool, int, str]:
        """Smaller is more specific: more markers, then a port, then longer paths."""
        longest = max((literal(path) for path in self.server.paths), default=0)
        return (-self.server.markers, not self.server.ports, -longest, self.match.service)

    def holds(self, seen: Seen) -> bool:
        """Whether everything the entry states is so."""
        server = self.server
        return (
            (not server.ports or seen.port in server.ports)
            and (not self.paths or any(path.match(f"{seen.method} {seen.path}") for path in self.paths))
            and _headers_hold(server.request_headers, seen.headers)
            and _headers_hold(server.response_headers, seen.response_headers)
            and (server.body is None or server.body.encode() in seen.body)
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


class Requests:
    """Rules on requests in clear: shared hosts, then any host, then self-hosted software."""

    def __init__(self, rules: Sequence[tuple[str | None, str, Match]], servers: Sequence[ServerRule]) -> None:
        by_length = sorted(rules, key=lambda rule: (-literal(rule[1]), rule[2].rule))
        self._hosts: dict[str, list[tuple[re.Pattern[str], Match]]] = {}
        self._any: list[tuple[re.Pattern[str], Match]] = []
        for host, path, match in by_length:
            rules_here = self._any if host is None else self._hosts.setdefault(host, [])
            rules_here.append((path_regex(path), match))
        self._names = Names((host, Match("", "", "", "", host)) for host in self._hosts)
        self._servers = sorted(servers, key=lambda rule: rule.rank)

    def shared(self, host: str, seen: Seen) -> Match | None:
        """A rule on this host's path."""
        owner = self._names.match(host)
        return _path_match(self._hosts[owner.rule], seen) if owner else None

    def anywhere(self, seen: Seen) -> Match | None:
        """A rule on the path of any host, then software that serves it."""
        found = _path_match(self._any, seen)
        if found:
            return found
        return next((rule.match for rule in self._servers if rule.holds(seen)), None)


def _path_match(rules: list[tuple[re.Pattern[str], Match]], seen: Seen) -> Match | None:
    line = f"{seen.method} {seen.path}"
    return next((match for regex, match in rules if regex.match(line)), None)

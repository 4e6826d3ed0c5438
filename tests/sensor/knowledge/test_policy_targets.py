"""Exports go through the real thing where it is installed, and mean what the catalogue says."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.zone
import pytest

from sensor.knowledge.catalogue_model import USE
from sensor.knowledge.policy_export import Plan, plan, service_case
from sensor.knowledge.policy_targets import TARGETS, export
from tests.ports import free_port
from tests.sensor.knowledge.test_policy_export import ACME, RULES, catalogue, packaged, policy_of, service

WIDE = policy_of(
    "{id: ok, match: {service: [chatgpt, gemini, gemini-api]}, verdict: allow}",
    "{id: stop, match: {vendor: [openai, anthropic, google, microsoft, aws, 'c*', 'd*']}, verdict: block}",
)


@cache
def wide() -> Plan:
    return plan(WIDE, packaged(), ["block"])


@cache
def small() -> Plan:
    return plan(policy_of(*RULES), ACME, ["block"])


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=60, check=False, **options
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout + done.stderr)


def written(tmp_path: Path, target: str, found: Plan | None = None) -> Path:
    path = tmp_path / f"out.{target}"
    path.write_text(export(target, found or wide()).text)
    return path


# Exceptions of every kind: the very name, a pattern, a name two labels below
LAYERS = catalogue(
    service("bad", hosts={"app": ["bad.example", "two.example", "three.example"]}),
    service("same", hosts={"app": ["=bad.example"]}),
    service("pattern", hosts={"app": ["x-*.two.example"]}),
    service("deep", hosts={"app": ["a.b.three.example"]}),
)
LAYERED = {
    "bad.example": False,
    "www.bad.example": True,
    "two.example": True,
    "www.two.example": True,
    "x-1.two.example": False,
    "three.example": True,
    "b.three.example": True,
    "c.b.three.example": True,
    "a.b.three.example": False,
    "www.a.b.three.example": False,
}


def layers() -> Plan:
    return plan(policy_of("{id: stop, match: {service: bad}, verdict: block}"), LAYERS, ["block"])


# What is right, by the catalogue itself


@cache
def names() -> dict[str, bool | None]:
    """Names of the catalogue's own cases, names beside them, and whether they are to be stopped."""
    probes = set()
    for entry in packaged().services.values():
        for case in (*entry.service.fires, *entry.service.silent):
            if isinstance(case, str):
                probes |= {case, f"sub.{case}", f"not{case}"}
    return {probe: _concerned(probe) for probe in sorted(probes) if probe.isascii()}


def _concerned(name: str) -> bool | None:
    """None: either is right, for a name of a service to be stopped that is not use of it."""
    match = packaged().match(name)
    if match is None or not _verdict(match.service):
        return False
    return True if match.role in USE else None


@cache
def _verdict(service: str) -> bool:
    return WIDE.decide(service_case(packaged(), packaged().services[service])).verdict == "block"


# All targets


@pytest.mark.parametrize("target", TARGETS)
def test_an_export_carries_its_version_and_is_always_the_same(target: str) -> None:
    found = plan(WIDE, packaged(), TARGETS[target].verdicts)
    text = export(target, found).text
    assert text == export(target, plan(WIDE, packaged(), TARGETS[target].verdicts)).text
    digest, version = found.policy.rpartition("-")[2], found.catalogue
    assert digest in text
    assert version in text


@pytest.mark.parametrize("target", [name for name, target in TARGETS.items() if target.comment])
def test_what_is_missing_is_in_comments(target: str) -> None:
    text = export(target, small()).text
    mark = TARGETS[target].comment
    assert f"{mark} not here: path: the path /ai/ on shared.example is not a name\n" in text
    body = [line for line in text.splitlines() if not line.startswith(mark)]
    assert not any("shared.example" in line for line in body)
    if target != "nftables":
        assert any("bad.example" in line for line in body)


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_to_stop_is_a_file_as_well(target: str) -> None:
    nothing = plan(policy_of("{id: all, verdict: allow}"), ACME, ["block"])
    assert "bad.example" not in export(target, nothing).text


@pytest.mark.parametrize("target", ["dnsmasq", "unbound", "adguard", "defender", "zeek"])
def test_a_name_that_is_itself_excepted_takes_nothing(target: str) -> None:
    lines = [line for line in export(target, layers()).text.splitlines() if "not here" not in line]
    assert not any("bad.example" in line for line in lines)
    assert any("three.example" in line for line in lines)


def test_a_name_that_is_itself_excepted_is_watched_without_it() -> None:
    assert 'content:!".bad.example"; startswith; endswith;' in export("suricata", layers()).text
    assert '      - "a.b.three.example"\n      - "bad.example"\n' in export("sigma", layers()).text


# DNS


@needs("named-checkzone")
def test_rpz_is_a_zone(tmp_path: Path) -> None:
    for found in (wide(), small(), layers()):
        assert "OK" in run("named-checkzone", "rpz.local", written(tmp_path, "rpz", found))


def test_rpz_answers_as_a_resolver_would() -> None:
    zone = dns.zone.from_text(export("rpz", small()).text, origin="rpz.local.", relativize=False)

    def action(name: str) -> str:
        """The name itself, then the wildcard of the nearest name that there is (RFC 4592 3.3.1)."""
        asked = dns.name.from_text(f"{name}.rpz.local.")
        above = asked
        while not any(node.is_subdomain(above) for node in zone.nodes):
            above = above.parent()
        source = asked if above == asked else dns.name.from_text("*", above)
        found = zone.get_rdataset(source, "CNAME")
        return str(found[0].target.to_text()) if found else ""

    assert action("bad.example") == action("www.bad.example") == action("one.example") == "."
    assert action("good.bad.example") == action("www.good.bad.example") == "rpz-passthru."
    assert action("exact.bad.example") == "rpz-passthru."
    assert action("sub.exact.bad.example") == "."
    assert action("sub.one.example") == action("notbad.example") == ""


@needs("named")
def test_bind_stops_just_that(tmp_path: Path) -> None:
    written(tmp_path, "rpz", layers())

    def command(port: int, up: int) -> list[str]:
        config = tmp_path / "named.conf"
        config.write_text(
            f'options {{ directory "{tmp_path}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n'
            f"  forwarders {{ 127.0.0.1 port {up}; }}; forward only; dnssec-validation no; pid-file none;\n"
            '  session-keyfile none; response-policy { zone "rpz.local"; } qname-wait-recurse no; };\n'
            'controls {};\nzone "rpz.local" { type primary; file "out.rpz"; allow-query { none; }; };\n'
        )
        return ["named", "-g", "-c", str(config)]

    with resolver(command) as ask:
        said = {name: ask(name) == "NXDOMAIN" for name in LAYERED}
    assert said == LAYERED | {"two.example": False, "www.two.example": False}  # left out


@needs("unbound-checkconf")
def test_unbound_reads_it(tmp_path: Path) -> None:
    assert "no errors" in run("unbound-checkconf", written(tmp_path, "unbound"))


@contextmanager
def resolver(command: Callable[[int, int], list[str]]) -> Iterator[Callable[[str], str]]:
    """A resolver on loopback whose way up says NOERROR to everything: NXDOMAIN is what it stops."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as up:
        up.bind(("127.0.0.1", 0))
        threading.Thread(target=_answer, args=(up,), daemon=True).start()
        port = free_port()
        process = subprocess.Popen(
            command(port, up.getsockname()[1]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

        def ask(name: str, seconds: float = 5) -> str:
            query = dns.message.make_query(name, "A")
            reply = dns.query.udp(query, "127.0.0.1", port=port, timeout=seconds, ignore_errors=True)
            return dns.rcode.to_text(reply.rcode())

        try:
            _until_it_answers(ask, process)
            yield ask
        finally:
            process.terminate()
            process.communicate(timeout=10)


def _until_it_answers(ask: Callable[[str, float], str], process: subprocess.Popen[str]) -> None:
    for _ in range(150):
        with contextlib.suppress(OSError, dns.exception.Timeout):
            ask("ready.example", 0.2)
            return
        assert process.poll() is None, process.communicate()[0]
    pytest.fail("it never answered")


def _answer(up: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed at the end of the test
        while True:
            data, sender = up.recvfrom(4096)
            up.sendto(dns.message.make_response(dns.message.from_wire(data)).to_wire(), sender)


def holds_like(ask: Callable[[str], str], kinds: str) -> None:
    """Never stops what is not concerned; stops all that a target of these kinds can."""
    expressible = [name for name, under in wide().suffixes() if all(e.kind in kinds for e in under)]
    for name, concerned in list(names().items())[::7]:
        stopped = ask(name) == "NXDOMAIN"
        assert concerned is not False or not stopped, name
        by_suffix = any(name == p.name or name.endswith(f".{p.name}") for p in expressible)
        assert stopped or not (concerned and by_suffix), name


@needs("dnsmasq")
def test_dnsmasq_stops_just_that(tmp_path: Path) -> None:
    path = written(tmp_path, "dnsmasq")
    assert "OK" in run("dnsmasq", "--test", "-C", path)
    options = "--listen-address=127.0.0.1 --bind-interfaces --no-resolv --no-hosts --pid-file= --user=root"
    with resolver(
        lambda port, up: [
            "dnsmasq",
            "-k",
            "-C",
            str(path),
            f"-p{port}",
            f"-S127.0.0.1#{up}",
            *options.split(),
        ]
    ) as ask:
        assert ask("www.claude.ai") == "NXDOMAIN"
        assert ask("chatgpt.com") == "NOERROR"
        holds_like(ask, "suffix")


@needs("unbound")
def test_unbound_stops_just_that(tmp_path: Path) -> None:
    path, config = written(tmp_path, "unbound"), tmp_path / "unbound.conf"

    def command(port: int, up: int) -> list[str]:
        config.write_text(
            f"server:\n  interface: 127.0.0.1\n  port: {port}\n  do-daemonize: no\n  username: ''\n"
            "  chroot: ''\n  pidfile: ''\n  use-syslog: no\n  module-config: iterator\n"
            "  do-not-query-localhost: no\n"
            f"forward-zone:\n  name: .\n  forward-addr: 127.0.0.1@{up}\ninclude: {path}\n"
            "remote-control:\n  control-enable: no\n"
        )
        return ["unbound", "-d", "-c", str(config)]

    with resolver(command) as ask:
        assert ask("www.claude.ai") == "NXDOMAIN"
        assert ask("chatgpt.com") == "NOERROR"
        holds_like(ask, "suffix")


def test_adguard_and_pihole_syntax() -> None:
    lines = [line for line in export("adguard", small()).text.splitlines() if line[0] != "!"]
    # `exact.bad.example` is excepted and these lists cannot say so for one name: the suffix is left out.
    assert lines == ["one.example", "@@||good.bad.example^"]


# Networks and proxies


@needs("nft")
def test_nft_takes_it(tmp_path: Path) -> None:
    addressed = plan(policy_of("{id: all, verdict: block}"), packaged(), ["block"])
    assert addressed.networks
    for found in (addressed, small()):
        path = written(tmp_path, "nftables", found)
        done = subprocess.run(
            ["unshare", "-rn", "nft", "-c", "-f", path], capture_output=True, text=True, check=False
        )
        if "unshare failed" in done.stderr or "Operation not permitted" in done.stderr:
            pytest.skip("no network namespaces here")
        assert (done.returncode, done.stderr) == (0, "")


@needs("squid")
def test_squid_parses_it_without_a_word(tmp_path: Path) -> None:
    for found in (wide(), small(), plan(policy_of("{id: all, verdict: block}"), packaged(), ["block"])):
        path, config = written(tmp_path, "squid", found), tmp_path / "squid.conf"
        config.write_text(
            f"http_port 127.0.0.1:3129\npid_filename none\ncache_log {tmp_path}/log\n"
            f"include {path}\nhttp_access deny all\n"
        )
        said = run("squid", "-k", "parse", "-f", config)
        assert not [
            line for line in said.splitlines() if "ERROR" in line or "FATAL" in line or "subdomain" in line
        ]


def _rule(name: str) -> str:
    match = packaged().match(name)
    return match.rule if match else ""


@needs("node")
def test_pac_says_what_the_catalogue_says(tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text(json.dumps(list(names())))
    script = tmp_path / "run.js"
    script.write_text(
        export("pac", wide()).text
        + '\nconst names = JSON.parse(require("fs").readFileSync(process.argv[2]));\n'
        'console.log(JSON.stringify(names.map((n) => FindProxyForURL("https://" + n + "/", n) == NOWHERE)));'
    )
    said = json.loads(run("node", script, tmp_path / "names.json"))
    spared = {p.split(" ")[0] for p in wide().left_out}
    wrong = {
        name: stopped
        for (name, concerned), stopped in zip(names().items(), said, strict=True)
        if concerned is not None and stopped != concerned and _rule(name) not in spared
    }
    assert wrong == {}
    assert sum(said) > 100


def test_envoy_is_a_filter_that_denies() -> None:
    body = "".join(line for line in export("envoy", small()).text.splitlines() if not line.startswith("#"))
    found = json.loads(body)
    assert found["typed_config"]["@type"].endswith("envoy.extensions.filters.network.rbac.v3.RBAC")
    rules = found["typed_config"]["rules"]
    assert rules["action"] == "DENY"
    concerned, spared = rules["policies"]["aiscope"]["permissions"][0]["and_rules"]["rules"]
    matchers = [rule["requested_server_name"] for rule in concerned["or_rules"]["rules"]]
    assert {"suffix": ".bad.example", "ignore_case": True} in matchers
    assert {"exact": "one.example", "ignore_case": True} in matchers
    assert {"suffix": ".one.example", "ignore_case": True} not in matchers
    assert {"safe_regex": {"regex": r"x\-[^.]*\.glob\.example"}} in matchers
    spared_names = [rule["requested_server_name"] for rule in spared["not_rule"]["or_rules"]["rules"]]
    assert {"exact": "exact.bad.example", "ignore_case": True} in spared_names
    assert rules["policies"]["aiscope"]["principals"] == [{"any": True}]


def test_defender_has_a_row_for_each_domain() -> None:
    rows = list(csv.DictReader(io.StringIO(export("defender", wide()).text)))
    assert {row["IndicatorType"] for row in rows} == {"DomainName"}
    assert {row["Action"] for row in rows} <= {"Block", "Allowed"}
    blocked = {row["IndicatorValue"] for row in rows if row["Action"] == "Block"}
    assert {"claude.ai", "chat.deepseek.com"} <= blocked
    assert not any("*" in name for name in blocked)


def test_paloalto_has_two_lines_for_a_name_and_no_comments() -> None:
    lines = export("paloalto", wide()).text.splitlines()
    assert lines[0].endswith(".aiscope.invalid/")
    assert {"claude.ai/", "*.claude.ai/"} <= set(lines)
    assert all(line.endswith("/") and "#" not in line for line in lines)
    assert len(lines) == len(set(lines))
    assert not any(
        "bad.example" in line for line in export("paloalto", small()).text.splitlines() if "*" in line
    )

"""The rules of docs/architecture.md that a reader could break without noticing: who imports whom, who does I/O."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("sensor", "collector", "dashboard", "signatures")

# The longest matching prefix of a module gives what it may import of ours; command lines import what they start.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "sensor.wire": ("sensor.wire",),
    "sensor.packets": ("sensor.packets", "sensor.wire", "sensor._core"),
    "sensor.knowledge": ("sensor.knowledge", "sensor.wire", "sensor.packets.facts", "sensor.delivery.event"),
    "sensor.delivery": ("sensor.delivery",),
    "sensor.monitor": (
        "sensor.delivery",
        "sensor.knowledge",
        "sensor.wire",
        "sensor.packets.facts",
    ),
    "sensor.proxy": (
        "sensor.proxy",
        "sensor.delivery",
        "sensor.knowledge",
        "sensor.wire",
        "sensor.packets.facts",
        "sensor.config",
    ),
    "sensor.watch_now": ("sensor.delivery.event", "sensor.packets.facts"),
    "sensor.watch_privileges": (),
    "sensor.watch_terminal": ("sensor.cli",),
    "sensor.watch_run": (
        "sensor.config",
        "sensor.delivery.event",
        "sensor.knowledge",
        "sensor.monitor",
        "sensor.packets",
        "sensor.read_cli",
        "sensor.watch_now",
        "sensor.watch_sink",
        "sensor.watch_terminal",
    ),
    "sensor.watch_sink": ("sensor.config", "sensor.delivery", "sensor.ship_cli", "collector.store"),
    "sensor.config": ("sensor.settings",),
    "sensor.settings": ("sensor.packets.facts",),
    "collector": (
        "collector",
        "sensor.config",
        "sensor.delivery.event",
        "sensor.delivery.columns",
        "sensor.knowledge.policy",
    ),
    "dashboard": ("dashboard", "collector.store", "sensor.config"),
    "signatures": ("signatures",),
}
# The version; how a dataclass is made, how HOST:PORT is read.
EVERYWHERE = {"sensor", "sensor.frozen", "sensor.listen", "sensor.reason"}
NO_CLOCK = ("sensor.wire", "sensor.packets.portable", "sensor.knowledge.evidence", "sensor.monitor")


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> set[str]:
    """Modules of ours that a file names, wherever in the file, except under TYPE_CHECKING."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name for name in found if name.split(".")[0] in PACKAGES}


def rule(module: str) -> tuple[str, ...] | None:
    if module.endswith("cli") or module == "sensor.summary":
        return None
    prefixes = [p for p in MAY_IMPORT if module == p or module.startswith(p + ".")]
    return MAY_IMPORT[max(prefixes, key=len)] if prefixes else ()


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_follow_the_architecture_page(module: str) -> None:
    allowed = rule(module)
    if allowed is None:
        return
    used = {name for name in imports(modules()[module]) if name not in EVERYWHERE}
    forbidden = [n for n in used if not any(n == a or n.startswith(a + ".") for a in allowed)]
    assert not forbidden, f"{module} imports {forbidden}; it may import {allowed}"


@pytest.mark.parametrize("module", sorted(m for m in modules() if m.startswith(NO_CLOCK)))
def test_protocol_code_reads_no_clock(module: str) -> None:
    source = modules()[module].read_text("utf-8")
    names = {node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
    names |= {
        alias.name for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Import) for alias in n.names
    }
    assert not names & {"time", "socket.socket", "os", "subprocess", "asyncio"}


def test_a_rule_can_fail() -> None:
    assert rule("sensor.wire.tls") == ("sensor.wire",)
    assert rule("sensor.knowledge.policy") == MAY_IMPORT["sensor.knowledge"]

"""WebSockets through the real proxy, by a client library of its own."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sensor.proxy.lab import ROOT, Lab, Proxy

CLIENT = Path(__file__).parent / "clients" / "websocket_client.py"
REALTIME = "wss://api.openai.com/v1/realtime?model=gpt-realtime"
KEY = "gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a"  # in the shape of a token, and none
POLICY = """
version: lab
default: allow
rules:
  - {id: no-keys, match: {data_class: credentials}, verdict: block}
  - {id: hidden, match: {data_class: email}, verdict: redact}
"""


@pytest.fixture
def proxy(lab: Lab) -> Iterator[Proxy]:
    with lab.proxy(POLICY, {}, "--enforce") as found:
        found.received()
        yield found


def talk(proxy: Proxy, python: Path, url: str, *steps: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [str(python), str(CLIENT), url],
        input=json.dumps(steps),
        capture_output=True,
        text=True,
        env=proxy.environment,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def item(text: str) -> str:
    content = [{"type": "input_text", "text": text}]
    message = {"type": "message", "role": "user", "content": content}
    return json.dumps({"type": "conversation.item.create", "item": message})


CREATE = json.dumps({"type": "response.create"})


def test_realtime(proxy: Proxy, python_sdks: Path) -> None:
    """Turns are exchanges; placeholders hold for the whole session, and what is refused is an error event."""
    found = talk(
        proxy,
        python_sdks,
        REALTIME,
        {"until": "session.created"},
        {"send": item("Write to jane.roe@corp-mail.com")},
        {"send": CREATE, "until": "response.done"},
        {"send": item("and to max.moe@corp-mail.com"), "pieces": 5},
        {"send": CREATE, "until": "response.done"},
        {"send": item(f"Is {KEY} good?"), "pieces": 20, "until": "blocked_by_policy"},
    )
    assert found["closed"] == 1000
    assert found["extensions"] == [], "nothing compressed comes through"
    events = [json.loads(one) for one in found["read"]]
    texts = [one["text"] for one in events if one["type"] == "response.output_text.done"]
    assert texts == ["You said: Write to jane.roe@corp-mail.com", "You said: and to max.moe@corp-mail.com"]
    deltas = "".join(one["delta"] for one in events if one["type"] == "response.output_text.delta")
    assert deltas == "".join(texts), "in their order"
    assert events[-1]["type"] == "error"
    assert events[-1]["error"]["message"].endswith("[policy rule no-keys]")

    bodies = [base64.b64decode(one["body"]) for one in proxy.received() if one["method"] == "WEBSOCKET"]
    assert len(bodies) == 4
    assert b"<EMAIL_1>" in bodies[0]
    assert b"<EMAIL_2>" in bodies[2]
    assert not any(b"corp-mail" in body or KEY.encode() in body for body in bodies)

    rows = sorted((row for row in proxy.stop() if row["table"] == "exchanges"), key=lambda row: row["time"])
    assert [row["policy"] for row in rows] == ["hidden", "hidden", "no-keys"]
    for row, text in zip(
        rows, ("Write to jane.roe@corp-mail.com", "and to max.moe@corp-mail.com"), strict=False
    ):
        assert (row["service"], row["operation"], row["model"]) == ("openai-api", "realtime", "gpt-realtime")
        assert (row["tokens_in"], row["tokens_out"], row["status"], row["stream"]) == (7, 9, 101, True)
        assert row["messages"] == [f"user;{len(text)}"]
        assert row["bytes_up"] == len(item(text)) + len(CREATE)
        assert 0 < row["ttfb_ms"] <= row["duration_ms"]
    assert (rows[2]["status"], rows[2]["verdict"]) == (403, "block")


def test_an_application(proxy: Proxy, python_sdks: Path) -> None:
    content = [{"type": "text", "text": "Write to jane.roe@corp-mail.com"}]
    asked = {"event": "send", "conversationId": "c1", "content": content, "mode": "chat"}
    found = talk(
        proxy,
        python_sdks,
        "wss://copilot.microsoft.com/c/api/chat?api-version=2",
        {"send": json.dumps(asked), "until": '"done"'},
        {"send": json.dumps(asked).replace("jane.roe@corp-mail.com", KEY), "until": "policy"},
    )
    said = "".join(json.loads(one).get("text", "") for one in found["read"])
    assert said == "You said: Write to jane.roe@corp-mail.com"
    assert found["closed"] == 1000
    rows = sorted((row for row in proxy.stop() if row["table"] == "exchanges"), key=lambda row: row["time"])
    assert [(row["service"], row["operation"], row["policy"]) for row in rows] == [
        ("microsoft-copilot", "chat", "hidden"),
        ("microsoft-copilot", "chat", "no-keys"),
    ]


def memory(proxy: Proxy) -> int:
    """MB that the proxy itself takes at most so far."""
    pid = proxy.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    peaks = []
    for one in (str(pid), *children):
        status = Path(f"/proc/{one}/status").read_text()
        peaks += [int(line.split()[1]) >> 10 for line in status.splitlines() if line.startswith("VmHWM")]
    return max(peaks)


def test_floods_and_huge_messages_are_bounded(proxy: Proxy, python_sdks: Path) -> None:
    before = memory(proxy)
    quiet = {"send": json.dumps({"type": "input_audio_buffer.clear"}), "times": 5_000}
    found = talk(proxy, python_sdks, REALTIME, quiet, {"send": CREATE, "until": "response.done"})
    assert found["closed"] == 1000

    huge = {"send": item("PADDING"), "bytes": 40 << 20}
    found = talk(proxy, python_sdks, REALTIME, huge, {"until": "never"})
    assert found["closed"] == 1009
    pieces = {**huge, "pieces": 1_000}
    found = talk(proxy, python_sdks, REALTIME, pieces, {"until": "never"})
    assert found["closed"] == 1009
    assert memory(proxy) - before < 200

    findings = [row["rule"] for row in proxy.stop() if row["table"] == "findings"]
    assert findings == ["inspection-too-large"]
    assert "failed" not in proxy.log, proxy.log

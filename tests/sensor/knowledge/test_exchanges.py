from sensor.knowledge.catalogue import load
from sensor.knowledge.exchanges import OPEN, Conversation, Conversations, Turn
from sensor.packets.facts import Clear, Flow

MS = 1_000_000


def clear(up: bool, time: int, data: bytes, gap: int = 0, flow: int = 0) -> Clear:
    return Clear(Flow(flow, "tcp", "10.0.0.7", 40_000, "10.0.0.9", 8000, "", None, ""), up, time, gap, data)


def request(body: bytes, path: str = "/v1/chat/completions", extra: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: a\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


def response(body: bytes, status: int = 200, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def over(turns: list[Turn]) -> list[Turn]:
    return [turn for turn in turns if turn.over]


def test_a_request_and_its_response() -> None:
    talk = Conversation()
    sent = request(b'{"model": "m", "messages": []}')
    assert talk.observe(clear(True, 1 * MS, sent[:50])) == []
    assert talk.observe(clear(True, 2 * MS, sent[50:])) == []
    head, body = (
        response(b'{"usage": {"prompt_tokens": 3}}')[:-20],
        response(b'{"usage": {"prompt_tokens": 3}}')[-20:],
    )
    (turn,) = talk.observe(clear(False, 5 * MS, head))
    assert not turn.over
    assert talk.observe(clear(False, 9 * MS, body)) == [turn]
    assert turn.over
    assert turn.call is not None
    assert (turn.call.operation, turn.call.model, turn.usage.tokens_in) == ("chat", "m", 3)
    assert (turn.sent.length, turn.received.length) == (30, 31)
    assert turn.ttfb_ms is not None
    assert (turn.start, turn.duration_ms) == (turn.start, (9 * MS - turn.start) / 1e6)
    assert not turn.retry
    assert talk.uploaded == 30
    assert turn.sent.data == b"\0"  # read, and let go


def test_an_answer_that_comes_before_the_request_is_over() -> None:
    talk = Conversation()
    sent = request(b'{"model": "m", "prompt": "x"}', "/v1/completions")
    talk.observe(clear(True, 1, sent[:-3]))
    (turn,) = over(talk.observe(clear(False, 2, response(b"{}", 413))))
    assert turn.call is not None
    assert turn.call.operation == "completion"
    assert talk.observe(clear(True, 3, sent[-3:])) == []
    assert over(talk.observe(clear(False, 4, response(b"{}")))) == []


def test_answers_to_turns_that_were_given_up_are_nobody_elses() -> None:
    talk, many = Conversation(), OPEN + 3
    given_up = [
        turn for n in range(many) for turn in talk.observe(clear(True, n, request(b'{"model": "m"}')))
    ]
    assert len(given_up) == OPEN
    answers = [response(b'{"usage": {"prompt_tokens": %d}}' % n) for n in range(many)]
    turns = [
        turn for n, data in enumerate(answers) for turn in over(talk.observe(clear(False, many + n, data)))
    ]
    assert [turn.usage.tokens_in for turn in turns] == [OPEN, OPEN + 1, OPEN + 2]


def test_one_after_the_other_and_pipelined() -> None:
    talk = Conversation()
    talk.observe(clear(True, 1, request(b"{}", "/a") + request(b"{}", "/b")))
    turns = over(talk.observe(clear(False, 2, response(b"1") + response(b"22", 500))))
    assert [(t.request.path, t.received.length, t.response and t.response.status) for t in turns] == [
        ("/a", 1, 200),
        ("/b", 2, 500),
    ]


def test_chunks_and_interim_responses() -> None:
    talk = Conversation()
    talk.observe(clear(True, 1, request(b"{}")))
    assert talk.observe(clear(False, 2, b"HTTP/1.1 100 Continue\r\n\r\n")) == []
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n"
    (turn,) = talk.observe(clear(False, 3, head + b"5\r\nhello\r\n"))
    assert over(talk.observe(clear(False, 4, b"0\r\n\r\n"))) == [turn]
    assert (turn.received.length, turn.usage.stream) == (5, True)


def test_a_connection_that_ends_early() -> None:
    talk = Conversation()
    talk.observe(clear(True, 1, request(b"{}")))
    (turn,) = talk.finish()
    assert (turn.over, turn.response, turn.ttfb_ms, turn.duration_ms) == (True, None, None, None)
    assert turn.usage.tokens_in is None
    assert talk.finish() == []


def test_a_response_that_lasts_to_the_end() -> None:
    talk = Conversation()
    talk.observe(clear(True, 1, request(b"{}")))
    talk.observe(clear(False, 2, b"HTTP/1.0 200 OK\r\n\r\nall of it"))
    (turn,) = talk.finish()
    assert turn.received.length == 9


def test_an_answer_lost_in_a_gap_is_not_given_to_the_next_request() -> None:
    talk = Conversation()
    talk.observe(clear(True, 1, request(b"{}", "/a")))
    talk.observe(clear(False, 2, b"", gap=400))
    (lost,) = talk.observe(clear(True, 3, request(b"{}", "/b")))
    assert (lost.request.path, lost.over, lost.response) == ("/a", True, None)
    (turn,) = over(talk.observe(clear(False, 4, response(b"2"))))
    assert turn.request.path == "/b"


def test_requests_that_are_never_answered_are_bounded() -> None:
    talk = Conversation()
    ended = sum(len(talk.observe(clear(True, n, request(b"{}")))) for n in range(3 * OPEN))
    assert ended + len(talk.finish()) == 3 * OPEN
    assert ended >= OPEN


def test_a_response_without_its_request_is_passed_over() -> None:
    talk = Conversation()
    assert talk.observe(clear(False, 1, response(b"1"))) == []


def test_retries_say_so() -> None:
    talk = Conversation()
    talk.observe(clear(True, 1, request(b"{}", extra="x-stainless-retry-count: 1\r\n")))
    assert [turn.retry for turn in talk.finish()] == [True]


def test_uploads_by_flow_until_the_engine_passes_on_no_more() -> None:
    talks = Conversations(clear_bytes=300)
    assert talks.upload(0) is None
    talks.observe(clear(True, 1, request(b"x" * 50)))
    assert talks.upload(0) == 50
    assert talks.upload(0) == 0
    talks.observe(clear(True, 2, request(b"x" * 300)))
    assert talks.upload(0) is None
    assert len(talks.finish(0)) == 2
    talks.forget(0)
    assert talks.finish(0) == []


def test_connections_are_bounded_and_counted() -> None:
    talks = Conversations(limit=2)
    for flow in range(5):
        talks.observe(clear(True, 1, request(b"{}"), flow=flow))
    assert talks.dropped == 3
    assert [len(talks.finish(flow)) for flow in range(5)] == [0, 0, 0, 1, 1]


def test_the_service_of_a_turn() -> None:
    catalogue = load()

    def match(sent: bytes, port: int) -> str:
        talk = Conversation()
        talk.observe(clear(True, 1, sent))
        (turn,) = talk.observe(clear(False, 2, response(b"{}")))
        found = turn.match(catalogue, port)
        return found.service if found else ""

    assert match(request(b"{}"), 8000) == "openai-compatible"
    assert match(request(b"{}", "/api/chat"), 11434) == "ollama"
    assert match(request(b"{}", "/login"), 8000) == ""
    through = request(b"{}", "http://api.openai.com/v1/x").replace(b"Host: a", b"Host: api.openai.com")
    assert match(through, 3128) == "openai-api"  # a proxy for plain HTTP
    assert match(request(b"{}", "/messages/?session_id=5b1e"), 8000) == "mcp-server"
    assert match(request(b"{}", "http://a:8000/messages/?session_id=5b1e"), 3128) == "mcp-server"

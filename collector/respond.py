"""ClickHouse's HTTP response: headers, compression, the answer in parts, an error in the middle of it."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping

from starlette.requests import ClientDisconnect
from starlette.types import Message, Send

from collector.codec import ENCODERS, Encoder, choose
from collector.errors import Refused

SEND_SECONDS = 60.0  # until a client takes the next part of an answer

_JSON = "application/json; charset=UTF-8"
_TYPES = {
    "JSON": _JSON,
    "JSONCompact": _JSON,
    "JSONStrings": _JSON,
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8; header=present",
    "XML": "application/xml; charset=UTF-8",
}
_BINARY = ("Native", "RowBinary", "Arrow", "Parquet", "ORC", "Avro", "MsgPack", "Protobuf", "BSON", "Npy")


class Responder:
    """One answer. `begin` once, `part` for each part, then `end`; or `error`, before or after the beginning."""

    def __init__(self, send: Send, accepted: str, query_id: str) -> None:
        self._send, self._accepted, self.query_id = send, accepted, query_id
        self._encoder: Encoder | None = None
        self._tag = secrets.token_hex(8)
        self.begun = False

    async def begin(self, form: str, summary: Mapping[str, int], compress: bool) -> None:
        """Status and headers."""
        coding = choose(self._accepted) if compress else ""
        headers = {
            "content-type": content_type(form),
            "x-clickhouse-summary": json.dumps({name: str(value) for name, value in summary.items()}),
            **({"x-clickhouse-format": form} if form else {}),  # clients take it for "there are rows"
            "x-clickhouse-exception-tag": self._tag,
        }
        if coding:
            self._encoder = ENCODERS[coding]()
            headers["content-encoding"] = coding
        await self._start(200, headers)

    async def text(self, text: str) -> None:
        """A short answer of our own."""
        await self._start(200, {"content-type": "text/html; charset=UTF-8"})
        await self.end(text.encode())

    async def part(self, data: bytes) -> None:
        """Send some of the answer."""
        if data and self._encoder:
            data = await asyncio.to_thread(self._encoder.encode, data)
        if data:
            await self._passed({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the rest of it."""
        if self._encoder:
            data = self._encoder.encode(data) + self._encoder.finish()
        await self._passed({"type": "http.response.body", "body": data, "more_body": False})

    async def error(self, error: Refused) -> None:
        """Say what went wrong: as the answer, or in the block that ends one that has begun."""
        if self.begun:
            text = f"{error.text}{len(error.text.encode())} {self._tag}\r\n__exception__\r\n"
            await self.end(f"\r\n__exception__\r\n{self._tag}\r\n{text}".encode())
            return
        headers = {
            "content-type": "text/plain; charset=UTF-8",
            "x-clickhouse-exception-code": str(error.code),
        }
        if error.status == 401:
            headers["www-authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        if error.status == 429:
            headers["retry-after"] = "1"
        await self._start(error.status, headers)
        await self._passed({"type": "http.response.body", "body": error.text.encode(), "more_body": False})

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.begun = True
        common = {
            "x-clickhouse-query-id": self.query_id,
            "x-clickhouse-timezone": "UTC",
            "x-clickhouse-server-display-name": "aiscope",
            "x-content-type-options": "nosniff",
            "cache-control": "no-store",
        }
        pairs = [
            (name.encode(), value.encode("latin-1", "replace"))
            for name, value in {**common, **headers}.items()
        ]
        await self._passed({"type": "http.response.start", "status": status, "headers": pairs})

    async def _passed(self, message: Message) -> None:
        """Hand on, unless the client does not take it."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send(message)
        except TimeoutError:
            raise ClientDisconnect from None


def content_type(form: str) -> str:
    """Of an output format."""
    if form.startswith(_BINARY):
        return "application/octet-stream"
    return _TYPES.get(form, "text/plain; charset=UTF-8")

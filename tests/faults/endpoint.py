"""A stand-in for the store's HTTP interface: inserts into a chDB directory, and nothing else."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import zstandard

from collector.store import open_store


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200, b"Ok.\n", {})

    def do_POST(self):
        fields = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        body = self.rfile.read(int(self.headers["Content-Length"]))
        query, identity = fields.pop("query").removesuffix(" FORMAT ArrowStream"), fields.pop("query_id")
        clause = ", ".join(
            f"{name} = '{value}'" for name, value in fields.items() if name != "wait_end_of_query"
        )
        try:
            self.server.insert(f"{query} SETTINGS {clause}", zstandard.decompress(body))
        except RuntimeError as error:
            code = str(error).partition("Code: ")[2].partition(".")[0]
            self.answer(500, str(error).encode(), {"X-ClickHouse-Exception-Code": code})
        else:
            self.answer(200, b"", {"X-ClickHouse-Query-Id": identity})

    def answer(self, code, text, headers):
        self.send_response(code)
        for name, value in {**headers, "Content-Length": len(text)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    directory, port = sys.argv[1:]
    store = open_store(f"chdb://{directory}")
    import chdb
    from collector.store import _connection

    writer = chdb.connect(_connection(store.directory))

    import threading

    lock = threading.Lock()

    def insert(statement, data):
        with lock, writer.send_insert(statement, "ArrowStream") as stream:
            stream.append(data)
            stream.finish()

    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    server.insert = insert
    server.serve_forever()

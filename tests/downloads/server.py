"""A file server in the test's own process that can misbehave, and says what it was asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

CHUNK = 2**14


@dataclass
class Served:
    """A file, and how it is served."""

    content: bytes = b""
    etag: str = '"1"'  # empty: not sent
    modified_s: float = 1_000_000_000.0  # 0: not sent
    kind: str = "application/octet-stream"
    ranges: bool = True  # answers Range with 206
    if_range: bool = True  # heeds If-Range
    length: bool = True  # sends Content-Length
    cuts: list[int] = field(default_factory=list)  # bytes of the next answers' bodies
    statuses: list[int] = field(default_factory=list)  # of the next answers; 0: as usual
    status: int = 200  # of all others
    headers: dict[str, str] = field(default_factory=dict)
    shift: int = 0  # how far a range begins from where it should
    silent_s: float = 0.0  # before the headers
    trickle_s: float = 0.0  # between two bytes
    chunk_s: float = 0.0  # between two chunks
    endless: bool = False


@dataclass
class Asked:
    path: str
    headers: dict[str, str]


class FileServer:
    """Serves `files`, and keeps what was asked."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.asked: list[Asked] = []
        self.stopped = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def url(self, path: str) -> str:
        return self.address + path

    def serve(self, path: str, content: bytes = b"", **how: Any) -> Served:
        self.files[path] = Served(content, **how)
        return self.files[path]

    def ranges(self) -> list[str | None]:
        return [asked.headers.get("Range") for asked in self.asked]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_CONNECT(self) -> None:
                self.send_error(403)

            def do_GET(self) -> None:
                server.asked.append(Asked(self.path, dict(self.headers)))
                self.close_connection = True
                # As a proxy it is asked for whole addresses.
                _answer(self, server.files.get(urlsplit(self.path).path), server.stopped)

            def log_message(self, *_: object) -> None:
                """Nothing: a test's output is its own."""

        return Handler


def _answer(handler: Any, file: Served | None, stopped: threading.Event) -> None:
    stopped.wait(file.silent_s if file else 0)
    status = file.statuses.pop(0) if file and file.statuses else 0
    if file is None or (status or file.status) not in (200, 206):
        handler.send_response(status or (file.status if file else 404))
        for name, value in (file.headers if file else {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    date = formatdate(file.modified_s, usegmt=True)
    start = 0
    asked = handler.headers.get("Range", "") if file.ranges else ""
    if asked and file.if_range and "If-Range" in handler.headers:
        asked = asked if handler.headers["If-Range"] in (file.etag, date) else ""
    if asked:
        start = int(asked.removeprefix("bytes=").partition("-")[0])
        if start >= len(file.content):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(file.content)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        start += file.shift
    body = file.content[start:]
    handler.send_response(206 if asked else 200)
    if asked:
        last = len(file.content) - 1
        handler.send_header("Content-Range", f"bytes {start}-{last}/{last + 1}")
    if file.etag:
        handler.send_header("ETag", file.etag)
    if file.modified_s:
        handler.send_header("Last-Modified", date)
    if file.length:
        handler.send_header("Content-Length", str(len(body)))
    handler.send_header("Content-Type", file.kind)
    for name, value in file.headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    _send(handler, file, body[: file.cuts.pop(0)] if file.cuts else body, stopped)


def _send(handler: Any, file: Served, body: bytes, stopped: threading.Event) -> None:
    step = 1 if file.trickle_s else CHUNK
    try:
        while body and not stopped.is_set():
            for place in range(0, len(body), step):
                handler.wfile.write(body[place : place + step])
                if pause_s := file.trickle_s or file.chunk_s:
                    time.sleep(pause_s)
                if stopped.is_set():
                    return
            if not file.endless:
                return
    except ConnectionError:  # the client has seen enough
        return


@contextmanager
def file_server() -> Iterator[FileServer]:
    server = FileServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()

"""A receiver of notices: an HTTP server on this machine that keeps what it gets."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

TOKEN = "xoxb-7Qm2kT9pW4xLc"
PASSWORD = "hunterhunter"
PATIENCE = 30.0


@dataclass
class Webhook:
    """What it got, and what it is to answer."""

    port: int
    got: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    status: int = 200
    hanging: Event | None = None

    @property
    def url(self) -> str:
        """Return its URL as apprise spells it, with secrets in all places that may hold some."""
        return f"json://ann:{PASSWORD}@127.0.0.1:{self.port}/hooks/{TOKEN}"

    @property
    def titles(self) -> list[str]:
        """Return what it was told, without the venue and the account."""
        return [got["title"].partition(": ")[2] for got in self.got]


@contextmanager
def listening() -> Iterator[Webhook]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if hook.hanging is not None:
                hook.hanging.wait(PATIENCE)
            if hook.status == 200:
                hook.got.append(json.loads(body))
                hook.paths.append(self.path)
            self.send_response(hook.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hook = Webhook(server.server_port)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        if hook.hanging is not None:
            hook.hanging.set()
        server.shutdown()
        server.server_close()
        thread.join()

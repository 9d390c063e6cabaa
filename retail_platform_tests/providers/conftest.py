"""A real server on this machine, that answers by a script, and clients that wait only milliseconds."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from retail_platform.providers.client import Client, Limits

QUICK = Limits(
    connect=1,
    read=0.3,
    total=0.4,
    max_bytes=2_000_000,
    first_wait=0.01,
    jitter=0.01,
    longest_wait=2,
    failures=10,
    rest=0.4,
)


@dataclass(frozen=True)
class Answer:
    """What the server says.

    Attributes:
        status: the status.
        body: the body.
        headers: beside Content-Length.
        delay: seconds before the status.
        drip: seconds before each byte of the body.
        slow_head: seconds before each byte of a header that never ends.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    drip: float = 0
    slow_head: float = 0


@dataclass
class Server:
    """A server and what it was asked.

    Attributes:
        url: its address.
        answers: the next answers, in order; the last one stays.
        by_path: answers of a path, before all others.
        asked: the paths with their queries, in order.
    """

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    by_path: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def next_answer(self, path: str) -> Answer:
        self.asked.append(path)
        if path.partition("?")[0] in self.by_path:
            return self.by_path[path.partition("?")[0]]
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def handler_of(script: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = script.next_answer(self.path)
            time.sleep(answer.delay)
            try:
                while answer.slow_head:
                    time.sleep(answer.slow_head)
                    self.wfile.write(b"H")
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in [answer.body] if not answer.drip else [bytes([byte]) for byte in answer.body]:
                    time.sleep(answer.drip)
                    self.wfile.write(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client had enough, which is what some tests are about

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    script = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_of(script)) as listening:
        script.url = f"http://127.0.0.1:{listening.server_port}"
        thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield script
        listening.shutdown()
        thread.join()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with Client(tmp_path / "providers", QUICK) as made:
        yield made

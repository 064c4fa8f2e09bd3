"""A schema registry over real HTTP, as small as Confluent's protocol allows."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class SmallRegistry(ThreadingHTTPServer):
    """Keeps schemas by id and subject, and counts what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.schemas: list[str] = []
        self.subjects: dict[str, list[int]] = {}
        self.asked: list[str] = []
        #: a status that every request is answered with instead
        self.failing: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, subject: str, schema: str) -> int:
        """The id of a schema, new if it is."""
        if schema not in self.schemas:
            self.schemas.append(schema)
        number = self.schemas.index(schema) + 1
        self.subjects.setdefault(subject, []).append(number)
        return number


class _Handler(BaseHTTPRequestHandler):
    server: SmallRegistry

    def do_GET(self) -> None:
        number = int(self._path().rpartition("/")[2])
        if number <= len(self.server.schemas):
            self._answer(200, {"schema": self.server.schemas[number - 1]})
        else:
            self._answer(404, {"error_code": 40403, "message": "Schema not found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        _, _, subject, *versions = self._path().split("/")
        schema = body["schema"]
        known = [self.server.schemas[n - 1] for n in self.server.subjects.get(subject, [])]
        if versions or schema in known:
            number = self.server.add(subject, schema)
            self._answer(200, {"subject": subject, "id": number, "version": 1, "schema": schema})
        else:
            self._answer(404, {"error_code": 40401, "message": "Subject not found"})

    def _path(self) -> str:
        path = self.path.partition("?")[0]
        self.server.asked.append(f"{self.command} {path}")
        return path

    def _answer(self, status: int, body: object) -> None:
        raw = json.dumps(body).encode()
        self.send_response(self.server.failing or status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def small_registry() -> Iterator[SmallRegistry]:
    with SmallRegistry() as registry:
        Thread(target=registry.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield registry
        finally:
            registry.shutdown()

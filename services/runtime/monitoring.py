"""/metrics, /healthz and /readyz of one process, served from a thread of its own."""

from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from services.core.errors import Misconfigured

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

__all__ = ["Monitoring", "split_bind"]


def split_bind(bind: str) -> tuple[str, int]:
    """``"127.0.0.1:8080"`` as host and port; raises ``Misconfigured``."""
    host, _, port = bind.rpartition(":")
    if not host or not port.isdigit():
        raise Misconfigured(f"{bind!r} is no address; write host:port, port 0 for a free one")
    return host.strip("[]"), int(port)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a scrape every few seconds is no event."""


class Monitoring:
    """Serves until closed. ``ready`` answers None, or why the process is not ready."""

    def __init__(self, bind: str, ready: Callable[[], str | None]) -> None:
        host, port = split_bind(bind)
        self._ready = ready
        self._metrics = make_wsgi_app()
        self._server = make_server(host, port, self._answer, _Server, _Quiet)
        self.address = f"{host}:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, name="monitoring", daemon=True)
        self._thread.start()

    def _answer(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        match environ.get("PATH_INFO"):
            case "/metrics":
                answer: Iterable[bytes] = self._metrics(environ, start_response)
                return answer
            case "/healthz":
                return _text(start_response, "200 OK", "alive")
            case "/readyz":
                why = self._ready()
                status = "200 OK" if why is None else "503 Service Unavailable"
                return _text(start_response, status, why or "ready")
            case _:
                return _text(start_response, "404 Not Found", "see /metrics, /healthz, /readyz")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _text(start_response: "StartResponse", status: str, text: str) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [text.encode() + b"\n"]

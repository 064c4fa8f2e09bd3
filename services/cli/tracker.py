"""The tracker's answers, over HTTP."""

import os

import httpx
import msgspec

from services.core.errors import Misconfigured, Retryable

__all__ = ["Tracker"]

_TIMEOUT_S = 10.0
_API_KEY = "LASTWORD_API_KEY"


class _Problem(msgspec.Struct, frozen=True):
    detail: str = ""


class Tracker:
    """One tracker, as one user of it: its key is read from ``LASTWORD_API_KEY``."""

    def __init__(self, url: str) -> None:
        key = os.environ.get(_API_KEY)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            self._client = httpx.Client(
                base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=not _is_here(url)
            )
        except httpx.InvalidURL as error:
            raise Misconfigured(f"--url: {error}") from error
        self._url = url

    def delivery(self, id: str) -> bytes | None:
        """The JSON about one notification; None if there is none, or none yet.

        Raises ``Misconfigured`` or ``Retryable``.
        """
        try:
            answer = self._client.get(f"/v1/deliveries/{id}")
        except httpx.UnsupportedProtocol as error:
            raise Misconfigured("--url: write it like http://127.0.0.1:8081") from error
        except httpx.HTTPError as error:
            raise Retryable(
                f"the tracker at {self._url} does not answer ({str(error) or 'no reply'}): "
                "is `lastword up` running?"
            ) from error
        match answer.status_code:
            case 200:
                return answer.content
            case 404:
                return None
            case 401 | 403:
                raise Misconfigured(f"{_detail(answer)}; give the key as {_API_KEY}")
            case status if status < 500:
                raise Misconfigured(_detail(answer))
        raise Retryable(f"the tracker cannot answer now: {_detail(answer)}")

    def close(self) -> None:
        self._client.close()


def _detail(answer: httpx.Response) -> str:
    try:
        problem = msgspec.json.decode(answer.content, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem()
    return problem.detail or f"status {answer.status_code}"


def _is_here(url: str) -> bool:
    """A proxy is for the world, not for this machine."""
    return httpx.URL(url).host in ("127.0.0.1", "::1", "localhost")

"""What a caller is told when the answer is no: problem details (RFC 9457), never a stack trace."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web

from services.runtime.logs import get_logger

__all__ = ["Problem", "as_problems"]

_MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_S = 5
_TITLES: Mapping[int, str] = {
    400: "The request cannot be read",
    401: "It does not prove who it is from",
    404: "There is nothing here",
    405: "Not with this method",
    408: "The request came too slowly",
    413: "The request is too large",
    415: "Send it uncompressed",
    500: "This is our fault",
    503: "Not now: try again",
}
_ADVICE: Mapping[int, str] = {
    404: "There are /v1/deliveries, /v1/deliveries/{id}, /v1/summary, /v1/recipients/{user},"
    " /v1/suppressions, /v1/suppressions/lift and /webhooks/{account}",
    405: "Deliveries and recipients are read with GET; all else comes with POST",
    413: "Send less",
}


class Problem(Exception):
    """Raised by a handler, and answered by ``as_problems``."""

    def __init__(
        self, status: int, detail: str, pointer: str | None = None, *, scheme: str = "Bearer"
    ) -> None:
        """``detail``: what to do. ``pointer``: the parameter at fault.

        ``scheme``: of a 401, how to prove it.
        """
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.pointer = pointer
        self.scheme = scheme

    def answer(self, headers: Mapping[str, str] | None = None) -> web.Response:
        body: dict[str, object] = {
            "title": _TITLES.get(self.status, HTTPStatus(self.status).phrase),
            "status": self.status,
            "detail": self.detail,
        }
        if self.pointer is not None:
            body["errors"] = [{"parameter": self.pointer, "detail": self.detail}]
        return web.Response(
            status=self.status,
            body=msgspec.json.encode(body),
            content_type=_MEDIA_TYPE,
            headers={**self._headers(), **(headers or {})},
        )

    def _headers(self) -> Mapping[str, str]:
        match self.status:
            case 401:
                return {"WWW-Authenticate": self.scheme}
            case 503:
                return {"Retry-After": str(_RETRY_AFTER_S)}
            case _:
                return {}


@web.middleware
async def as_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Whatever goes wrong is told as a problem."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.answer()
    except web.HTTPException as error:
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        detail = _ADVICE.get(error.status, HTTPStatus(error.status).phrase)
        return Problem(error.status, detail).answer(allowed)
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception as error:
        # where it happened, and not its message: that may quote what was sent
        frames = traceback.extract_tb(error.__traceback__)[-5:]
        at = [f"{frame.name}:{frame.lineno}" for frame in frames]
        get_logger().error("unexpected", cause=type(error).__name__, at=at)
        return Problem(500, "It is in our log; try again").answer()

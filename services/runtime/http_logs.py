"""What aiohttp's server has to say, without what strangers sent it.

Its own messages quote the bytes that it could not read, and those may hold addresses and keys. Give
``http_logger()`` to ``web.AppRunner(..., logger=...)``.
"""

import logging

from services.runtime.logs import get_logger

__all__ = ["http_logger"]

_NAME = "lastword.http"


class _CausesOnly(logging.Handler):
    """One line for each, with the kind of the error alone."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0] if record.exc_info else None
        cause = kind.__name__ if kind else "none"
        get_logger().warning("http_error", cause=cause, at=f"{record.module}:{record.lineno}")


def http_logger() -> logging.Logger:
    """A logger for HTTP servers; the same one at each call."""
    logger = logging.getLogger(_NAME)
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(_CausesOnly(logging.WARNING))
    return logger

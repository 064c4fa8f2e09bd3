"""Structured logs: one JSON object a line on stderr, never an address, a body or a secret.

Call sites log ids, counts and causes only; ``redact`` is the second line of defence.
"""

import logging
import re
import sys
from collections.abc import MutableMapping

import structlog

__all__ = ["configure_logs", "get_logger", "joined", "kafka_logger", "redact"]

_EMAIL = re.compile(r"[^\s\"'<>@,;:]+@[^\s\"'<>@,;:]+")
_PHONE = re.compile(r"\+\d{7,15}\b")
_MOST_REMEMBERED = 1_000


def redact(
    logger: object, method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """Take out of every string what looks like an email address or a phone number."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _PHONE.sub("[phone]", _EMAIL.sub("[email]", value))
    return event


def _naming(service: str) -> structlog.typing.Processor:
    """The service's name on every line, from whatever thread it comes."""

    def name(
        _logger: object, _method: str, event: MutableMapping[str, object]
    ) -> MutableMapping[str, object]:
        return {"service": service, **event}

    return name


def configure_logs(service: str, level: str = "info") -> None:
    """Once at the start of a process."""
    structlog.configure(
        processors=[
            _naming(service),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


class _Forward(logging.Handler):
    """A library's lines, as ours."""

    def __init__(self, library: str) -> None:
        super().__init__()
        self._library = library

    def emit(self, record: logging.LogRecord) -> None:
        get_logger().log(record.levelno, self._library, message=record.getMessage())


def kafka_logger() -> logging.Logger:
    """For the ``logger`` of a Kafka client, whose lines then join ours."""
    return joined("lastword.librdkafka", "librdkafka")


def joined(name: str, library: str, *, seldom_s: float = 0.0) -> logging.Logger:
    """A library's own logger, by its name, of which the lines join ours from now on.

    ``seldom_s``: what it says again within so many seconds is left out.
    """
    logger = logging.getLogger(name)
    if not logger.handlers:
        handler = _Forward(library)
        if seldom_s:
            handler.addFilter(_Seldom(seldom_s))
        logger.addHandler(handler)
        logger.propagate = False
    return logger


class _Seldom(logging.Filter):
    """The same is what was written the same, whatever is filled in."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._said_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        said_at = self._said_at.get(str(record.msg))
        if said_at is not None and record.created - said_at < self._seconds:
            return False
        if len(self._said_at) > _MOST_REMEMBERED:
            self._said_at.clear()
        self._said_at[str(record.msg)] = record.created
        return True


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """A logger; bind to it what every line of a part should carry."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger

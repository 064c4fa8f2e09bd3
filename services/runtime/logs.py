"""Structured logs: one JSON object a line on stderr, never an address, a body or a secret.

Call sites log ids, counts and causes only; ``redact`` is the second line of defence.
"""

import logging
import re
import sys
from collections.abc import MutableMapping

import structlog

__all__ = ["configure_logs", "get_logger", "kafka_logger", "redact"]

_EMAIL = re.compile(r"[^\s\"'<>@,;:]+@[^\s\"'<>@,;:]+")
_PHONE = re.compile(r"\+\d{7,15}\b")


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
    def emit(self, record: logging.LogRecord) -> None:
        """Librdkafka's line, as one of ours."""
        get_logger().log(record.levelno, "librdkafka", message=record.getMessage())


def kafka_logger() -> logging.Logger:
    """For the ``logger`` of a Kafka client, whose lines then join ours."""
    logger = logging.getLogger("lastword.librdkafka")
    if not logger.handlers:
        logger.addHandler(_Forward())
        logger.propagate = False
    return logger


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """A logger; bind to it what every line of a part should carry."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger

"""The README's table of providers, printed from what each of them declares."""

from collections.abc import Mapping

from services.core.ports import Capabilities, Provider

__all__ = ["markdown"]

_HEAD = (
    "provider",
    "channels",
    "in one request",
    "a repeated request",
    "what finds a message",
    "told the time left",
)


def markdown(providers: Mapping[str, Provider]) -> str:
    """One row a provider."""
    rows = [_HEAD, tuple("---" for _ in _HEAD)]
    rows += [_row(name, provider.capabilities) for name, provider in providers.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(name: str, can: Capabilities) -> tuple[str, ...]:
    deadline = "no" if can.native_deadline is None else "{} to {} s".format(*can.native_deadline)
    return (
        name,
        ", ".join(can.channels),
        str(can.batch_max),
        can.idempotent_send,
        can.reconcile,
        deadline,
    )

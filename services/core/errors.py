"""One base and three children, each named for what the shell does about it.

Expected outcomes are returned values, not exceptions. Anything else propagates and stops the
process before an offset is committed.
"""

__all__ = ["LastwordError", "Misconfigured", "PoisonEvent", "Retryable"]


class LastwordError(Exception):
    """The base of everything that Lastword raises on purpose."""


class Retryable(LastwordError):
    """Something outside is away for now: wait, and do the same again."""


class PoisonEvent(LastwordError):
    """A record that will never be understood: dead-letter it with its cause, and go on."""

    def __init__(self, cause: str, detail: str = "") -> None:
        """``cause``: a stable word for headers and metrics. ``detail``: what a person can do."""
        super().__init__(f"{cause}: {detail}" if detail else cause)
        self.cause = cause
        self.detail = detail


class Misconfigured(LastwordError):
    """A person has to change something: refuse to start, and say what."""

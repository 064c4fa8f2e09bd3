"""The one place that rolls dice for dispatch, so that a simulation can load them."""

import random
from typing import Protocol
from uuid import uuid4

from services.core.identifiers import ClaimId

__all__ = ["Chance", "SystemChance"]


class Chance(Protocol):
    """What is not decided by anything."""

    def jitter(self) -> float:
        """A number in [0, 1)."""
        ...

    def claim_id(self) -> ClaimId:
        """One that nobody else will ever have."""
        ...


class SystemChance:
    """The operating system's."""

    def jitter(self) -> float:
        return random.random()

    def claim_id(self) -> ClaimId:
        return ClaimId(uuid4())

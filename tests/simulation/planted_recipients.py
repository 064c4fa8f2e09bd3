"""Bugs planted in what is made of what recipients want, how much they had, and when it is night."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

import pytest
from msgspec.structs import replace

from services.core.ledger import ClaimAnswer, ClaimRequest
from services.dispatch import claims
from services.runtime.ledger.memory_claims import Claiming
from services.runtime.ledger.memory_recipients import Recipients

__all__ = ["RECIPIENT_BUGS"]

Patch: TypeAlias = pytest.MonkeyPatch
Bug: TypeAlias = Callable[[Patch], None]


def ask_only_when_routing(patch: Patch) -> None:
    """What they said while it waited is not heard."""
    patch.setattr(claims, "address_digest", lambda *_: "")


def ask_only_at_the_first_attempt(patch: Patch) -> None:
    """What they said while one attempt failed is not heard."""
    unwanted = Recipients.unwanted

    def at_first(self: Recipients, request: ClaimRequest) -> str:
        return unwanted(self, request) if request.attempt == 1 else ""

    patch.setattr(Recipients, "unwanted", at_first)


def count_nothing_that_they_had(patch: Patch) -> None:
    """Each is the first that they get."""
    patch.setattr(Recipients, "count_in", lambda *_: None)


def let_leases_last_into_the_night(patch: Patch) -> None:
    """The ledger does not look at where they live; dispatch alone does, before it asks."""
    claim = Claiming.claim_one

    def awake(self: Claiming, request: ClaimRequest, now: datetime) -> ClaimAnswer:
        return claim(self, replace(request, quiet=()), now)

    patch.setattr(Claiming, "claim_one", awake)


RECIPIENT_BUGS: dict[str, Bug] = {
    bug.__name__: bug
    for bug in (
        ask_only_when_routing,
        ask_only_at_the_first_attempt,
        count_nothing_that_they_had,
        let_leases_last_into_the_night,
    )
}

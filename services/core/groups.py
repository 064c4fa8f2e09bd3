"""The consumer groups by name, and what each of them reads."""

from collections.abc import Mapping, Sequence

from services.core.catalogue import Lane
from services.core.topics import ATTEMPTS, LISTS, RECEIPTS, RECIPIENTS, queued, requested

__all__ = ["GROUPS", "HEALTH", "PROFILES", "TRACKER", "dispatch", "router"]

TRACKER = "lastword.tracker"
#: of the routers, for the ledger's sake
PROFILES = "lastword.profiles"
#: it takes its place itself and promises nothing, so nobody else has to watch how far it is
HEALTH = "lastword.health"


def router(lane: Lane) -> str:
    """Each lane has a group of its own: none waits behind what was fetched of another."""
    return f"lastword.router.{lane}"


def dispatch(lane: Lane) -> str:
    """Each lane has a group of its own."""
    return f"lastword.dispatch.{lane}"


_REQUESTED = tuple(map(requested, Lane))
GROUPS: Mapping[str, Sequence[str]] = {
    **{router(lane): (requested(lane),) for lane in Lane},
    **{dispatch(lane): (queued(lane),) for lane in Lane},
    TRACKER: (*_REQUESTED, ATTEMPTS, RECEIPTS),
    PROFILES: (RECIPIENTS, LISTS),
}

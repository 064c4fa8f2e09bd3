"""Which account dispatch tries first, for rows whose fault strikes one provider alone.

Dispatch leaves an account alone for a while after a failure, and what earlier rows did may be such.
"""

from functools import partial
from itertools import count

from lastword import Notification
from tests.chaos.asks import notice, reset
from tests.chaos.looks import attempts_of
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until

__all__ = ["until_first_choice"]

_users = count(1)


def until_first_choice(traffic: Traffic, *providers: str) -> None:
    """Dispatch sends by these again: ``postmark``, first for a reset; ``mailgun``, for a notice."""
    for provider in providers:
        until(partial(_sends_by, traffic, provider), f"dispatch sends by {provider}")


def _sends_by(traffic: Traffic, provider: str) -> bool:
    (id,) = traffic.ask(_asked(provider))
    traffic.until_accepted(id)
    # by then dispatch knows what became of it
    until(lambda: attempts_of(traffic.house, id)[-1].outcome, f"{id} is settled")
    return traffic.accepted(id)[0].provider == provider


def _asked(provider: str) -> Notification:
    user = f"probe-{next(_users)}"
    return {"postmark": reset, "mailgun": notice}[provider](user)

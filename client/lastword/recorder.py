"""What was sent in a test, and the questions that tests ask of it. Pure."""

from collections import defaultdict
from collections.abc import Mapping

import msgspec

from lastword.contract import (
    DEFAULT_TENANT,
    Fact,
    ListMemberUpdated,
    NotificationCancelled,
    NotificationId,
    NotificationRequested,
    RecipientUpdated,
    SupersessionKey,
)
from lastword.errors import Fault, LastwordError, Rejected
from lastword.kafka_route import TypeSpec, key_of
from lastword.setup import Types

__all__ = ["Recorder"]


class Recorder:
    """What was sent and cancelled, in order, with the questions that tests ask of it."""

    def __init__(self, types: Types | None = None) -> None:
        """``types``: all that may be sent; None: any, where newer ones supersede older."""
        self._types = types
        #: every notification that was taken, in order; a repeat of an id is the same one
        self.sent: list[NotificationRequested] = []
        #: every cancellation, in order
        self.cancelled: list[NotificationCancelled] = []
        #: by tenant and user, the profiles as they are now
        self.recipients: dict[tuple[str, str], RecipientUpdated] = {}
        #: by tenant and list, who is on it now, by user
        self.members: dict[tuple[str, str], dict[str, ListMemberUpdated]] = defaultdict(dict)
        self._pending: dict[SupersessionKey, NotificationRequested] = {}
        self._failures: list[LastwordError] = []
        self._ids: set[NotificationId | None] = set()

    def fail_next(self, error: LastwordError, times: int = 1) -> None:
        """The next ``times`` calls are not taken, for ``error``."""
        self._failures += [error] * times

    @property
    def pending(self) -> list[NotificationRequested]:
        """What would go out: the newest of each key, unless it was cancelled."""
        return [*self._pending.values()]

    def latest(
        self, user: str, type: str, *, subject: str | None = None, tenant: str = DEFAULT_TENANT
    ) -> NotificationRequested | None:
        """The one of a key that has the last word; None if there is none or it was cancelled."""
        asked = (tenant, user, type, subject)
        return next(
            (
                each
                for each in reversed(self._pending.values())
                if (each.tenant, each.user, each.type, each.subject) == asked
            ),
            None,
        )

    def assert_sent(self, user: str, type: str, /, **data: object) -> NotificationRequested:
        """Some such notification was sent, whose data hold ``data`` and maybe more; the newest."""
        for each in reversed(self.sent):
            if (each.user, each.type) == (user, type) and _holds(each, data):
                return each
        asked = f"{type} to {user}" + (f" with {data}" if data else "")
        raise AssertionError(f"no {asked} was sent; {self._summary()}")

    def assert_not_sent(self, user: str | None = None, type: str | None = None, /) -> None:
        """No such notification was sent; without ``user`` and ``type``, none at all."""
        for each in self.sent:
            if user in (None, each.user) and type in (None, each.type):
                raise AssertionError(f"{each.type} was sent to {each.user}: {each.data}")

    def clear(self) -> None:
        """Forgets everything, failures to come included."""
        for kept in (self.sent, self.cancelled, self._pending, self._failures, self._ids):
            kept.clear()
        self.recipients.clear()
        self.members.clear()

    def take(self, event: NotificationRequested | NotificationCancelled) -> SupersessionKey:
        """Remembers ``event``, or raises what it was told to."""
        if self._failures:
            raise self._failures.pop(0)
        key = self._key(event)
        if isinstance(event, NotificationRequested):
            self._request(key, event)
        else:
            self._cancel(key, event)
        return key

    def put(self, fact: Fact) -> None:
        """Remembers a profile or a member, or raises what it was told to."""
        self._forget(fact)
        if isinstance(fact, RecipientUpdated):
            self.recipients[fact.tenant, fact.user] = fact
        else:
            self.members[fact.tenant, fact.list][fact.user] = fact

    def remove(self, fact: Fact) -> None:
        """Remembers that there is none, or raises what it was told to."""
        self._forget(fact)

    def _forget(self, fact: Fact) -> None:
        if self._failures:
            raise self._failures.pop(0)
        if isinstance(fact, RecipientUpdated):
            self.recipients.pop((fact.tenant, fact.user), None)
        else:
            self.members[fact.tenant, fact.list].pop(fact.user, None)

    def _key(self, event: NotificationRequested | NotificationCancelled) -> SupersessionKey:
        types = {event.type: TypeSpec("normal")} if self._types is None else self._types
        spec = types.get(event.type)
        if spec is None:
            known = ", ".join(sorted(types))
            raise Rejected("it was not sent", (Fault("#/type", f"the types are: {known}"),))
        key = key_of(event, spec if isinstance(spec, TypeSpec) else TypeSpec(spec))
        if isinstance(key, Rejected):
            raise key
        return key

    def _request(self, key: SupersessionKey, request: NotificationRequested) -> None:
        if request.id in self._ids:
            return
        self._ids.add(request.id)
        self.sent.append(request)
        self._pending.pop(key, None)
        self._pending[key] = request

    def _cancel(self, key: SupersessionKey, event: NotificationCancelled) -> None:
        self.cancelled.append(event)
        pending = self._pending.get(key)
        if pending is not None and event.id in (None, pending.id):
            del self._pending[key]

    def _summary(self) -> str:
        if not self.sent:
            return "nothing was"
        return "these were: " + "; ".join(f"{e.type} to {e.user} with {e.data}" for e in self.sent)


def _holds(request: NotificationRequested, data: Mapping[str, object]) -> bool:
    expected = msgspec.to_builtins(data, str_keys=True)
    return all(name in request.data and request.data[name] == expected[name] for name in expected)

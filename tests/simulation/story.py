"""What producers do in one life: requests, repeats, cancels, and records of strangers."""

from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import unquote
from uuid import UUID

import msgspec
from msgspec import Struct

from services.core.catalogue import Lane, Supersede
from services.core.events import Addresses, NotificationCancelled, NotificationRequested
from services.core.identifiers import OF_LIST, NotificationId, TypeName, supersession_key
from services.core.partitioner import partition_of
from services.core.topics import requested
from services.runtime.producer import OutRecord
from tests.simulation.catalogue import ALERT, CODE, LIKE, LIST, LOADED, NOTE, NUDGE, RESET
from tests.simulation.codec import CODEC
from tests.simulation.dice import Dice
from tests.simulation.oracle import START
from tests.simulation.world import PARTITIONS, World

__all__ = [
    "MEMBERS",
    "Deed",
    "asks",
    "asks_all",
    "cancels",
    "lanes_of",
    "tell",
    "write_story",
]

#: who is on the one list at first
MEMBERS = tuple(f"u{number}" for number in range(5))
_ALL = OF_LIST + LIST

_LASTS_S = 7.0
_WAITS_S = 12.0


class Deed(Struct, frozen=True):
    """A record that a producer appends at some time."""

    at: float
    out: OutRecord
    #: what the trace calls it, where it has an id
    name: str = ""
    id: NotificationId | None = None


def asks(
    user: str,
    name: str,
    *,
    type: TypeName = RESET,
    at: float = 0.0,
    phone: bool = True,
    email: bool = True,
    with_id: bool = True,
    words: str = "hello",
    send_at: float | None = None,
) -> Deed:
    """A request under an id that follows from its name, or under none; ``words`` are its body.

    ``send_at``: not before this, in seconds of the life.
    """
    id = NotificationId(UUID(int=abs(hash_of(name)))) if with_id else None
    to = Addresses(
        email=f"{user}@example.test" if email else None, phone=_phone(user) if phone else None
    )
    event = NotificationRequested(
        user=user,
        type=type,
        to=to,
        data={"words": words},
        id=id,
        send_at=None if send_at is None else START + timedelta(seconds=send_at),
    )
    value = CODEC.encode(event) if with_id else _plain_json(event)
    return Deed(at, _to_be_asked(event, value), name, id)


def asks_all(
    name: str, *, type: TypeName = NOTE, at: float = 0.0, words: str | None = None
) -> Deed:
    """A request to all who are on the list."""
    id = NotificationId(UUID(int=abs(hash_of(name))))
    to, data = Addresses(list=LIST), {"words": words or name}
    event = NotificationRequested(user=_ALL, type=type, to=to, data=data, id=id)
    return Deed(at, _to_be_asked(event, CODEC.encode(event)), name, id)


def _to_be_asked(event: NotificationRequested, value: bytes) -> OutRecord:
    type = TypeName(event.type)
    key = _key(event.user, type, event.id)
    return OutRecord(topic=_topic(type), key=key, value=value)


def _key(user: str, type: TypeName, id: NotificationId | None) -> bytes:
    never = LOADED.catalogue.types[type].supersede is Supersede.NEVER
    return supersession_key("default", user, type, str(id) if never else None).encode()


def _topic(type: TypeName) -> str:
    return requested(LOADED.catalogue.types[type].lane)


def _phone(user: str) -> str:
    """A number of their own."""
    return f"+1500555{1000 + hash_of(user) % 9000}"


def cancels(
    user: str, *, type: TypeName = RESET, id: NotificationId | None = None, at: float = 0.0
) -> Deed:
    """A cancel of one id or, of what is superseded, of the whole key."""
    event = NotificationCancelled(user=user, type=type, id=id)
    key = _key(user, type, id)
    return Deed(at, OutRecord(topic=_topic(type), key=key, value=CODEC.encode(event)))


def hash_of(name: str) -> int:
    """The same in every process."""
    return int.from_bytes(name.encode().rjust(16, b"\1")[-16:], "big")


def write_story(
    dice: Dice,
    *,
    crowded: bool = False,
    later: Dice | None = None,
    awaited: Dice | None = None,
    social: Dice | None = None,
) -> list[Deed]:
    """Two to six requests of one to three keys, and what else happens to those keys.

    ``crowded``: with a campaign, and a larger one. ``later``: some wait for a time of their own, by
    its chance. ``awaited``: some await their receipts, by its chance. ``social``: some are told
    with others of their kind, and one is for all on a list, by its chance.
    """
    users = [f"u{number}" for number in range(dice.whole(1, 3))]
    deeds = _campaign(dice, 7 if crowded else 4) if crowded or dice.maybe(0.3) else []
    spread = dice.one_of((0.2, 2.0, _LASTS_S))
    for number in range(dice.whole(2, 6)):
        type = dice.one_of((RESET, RESET, ALERT, CODE, NOTE))
        if awaited and awaited.maybe(0.6):
            type = NUDGE
        at = dice.between(0.0, spread)
        deeds.append(
            asks(
                dice.one_of(users),
                f"n{number}",
                type=type,
                at=at,
                phone=type == CODE or dice.maybe(0.5),
                with_id=type == NOTE or not dice.maybe(0.15),
                send_at=at + later.between(0, _WAITS_S) if later and later.maybe(0.4) else None,
            )
        )
    deeds += [] if social is None else _social(social, users, spread)
    return sorted([*deeds, *_more(dice, users, deeds)], key=lambda deed: deed.at)


def _social(dice: Dice, users: Sequence[str], spread: float) -> list[Deed]:
    """Some items of digests, and perhaps one that is for all; some are taken back."""
    deeds: list[Deed] = []
    for number in range(dice.whole(2, 9)):
        name, user, at = f"l{number}", dice.one_of(users), dice.between(0.0, spread)
        deeds.append(asks(user, name, type=LIKE, at=at, words=name))
        if dice.maybe(0.15):
            later = at + dice.between(0.0, 3.0)
            deeds.append(cancels(user, type=LIKE, id=deeds[-1].id, at=later))
    if dice.maybe(0.5):
        type, at = dice.one_of((RESET, NOTE)), dice.between(0.0, spread)
        deeds += [asks_all(f"t{n}", type=type, at=at + n) for n in range(dice.one_of((1, 1, 2)))]
        if dice.maybe(0.2):
            later = at + dice.between(0.0, 2.0)
            deeds.append(cancels(_ALL, type=type, id=deeds[-1].id, at=later))
    return deeds


def _campaign(dice: Dice, most: int) -> list[Deed]:
    """Some at once, which may travel together."""
    at = dice.between(0.0, 2.0)
    type = dice.one_of((NOTE, RESET))
    return [asks(f"r{n}", f"r{n}", type=type, at=at) for n in range(dice.whole(2, most))]


def _more(dice: Dice, users: Sequence[str], asked: Sequence[Deed]) -> list[Deed]:
    more: list[Deed] = []
    for deed in asked:
        if not deed.name:
            continue
        later = deed.at + dice.between(0.0, 3.0)
        if dice.maybe(0.25) and deed.id is not None:
            # an HTTP retry: the same id again, perhaps after a newer one
            more.append(Deed(later, deed.out, deed.name, deed.id))
        if dice.maybe(0.1) and deed.id is not None:
            more += _second_body(dice, deed)
        if dice.maybe(0.1) and deed.id is not None:
            more.append(cancels(_user_of(deed), id=deed.id, at=later))
        if dice.maybe(0.08) and _user_of(deed) != _ALL:
            more.append(_misplaced(dice, deed))
    if dice.maybe(0.25):
        more.append(cancels(dice.one_of(users), at=dice.between(0.0, _LASTS_S)))
    if dice.maybe(0.1):
        key = supersession_key("default", dice.one_of(users), RESET, None).encode()
        null = OutRecord(topic=requested(Lane.CRITICAL), key=key, value=None)
        more.append(Deed(dice.between(0.0, _LASTS_S), null))
    if dice.maybe(0.1):
        poison = OutRecord(topic=requested(Lane.CRITICAL), key=b"?", value=b"{nonsense")
        more.append(Deed(dice.between(0.0, _LASTS_S), poison))
    return more


def _second_body(dice: Dice, deed: Deed) -> list[Deed]:
    """An id that is used again for something else, and repeated as such."""
    type = TypeName(_type_of(deed))
    ats = [deed.at + dice.between(0.0, 3.0) for _ in range(dice.one_of((1, 1, 2)))]
    user, words = _user_of(deed), "not again"
    if user == _ALL:
        return [asks_all(deed.name, type=type, at=at, words=words) for at in ats]
    return [asks(user, deed.name, type=type, at=at, words=words) for at in ats]


def _user_of(deed: Deed) -> str:
    return unquote((deed.out.key or b"").decode().split(":")[1])


def _misplaced(dice: Dice, deed: Deed) -> Deed:
    """Another request of the key, from a client with a partitioner of its own."""
    user, name = _user_of(deed), f"{deed.name}x"
    again = asks(user, name, at=deed.at + dice.between(0.0, 1.0))
    right = partition_of(again.out.key or b"", PARTITIONS)
    out = msgspec.structs.replace(again.out, partition=(right + 1) % PARTITIONS)
    if dice.maybe(0.3):
        out = msgspec.structs.replace(again.out, topic=requested(Lane.BULK))
    return Deed(again.at, out, name, again.id)


def _plain_json(event: NotificationRequested) -> bytes:
    body = {"user": event.user, "type": event.type, "to": event.to, "data": event.data}
    return msgspec.json.encode(body)


def lanes_of(deeds: Sequence[Deed]) -> list[Lane]:
    """The lanes that somebody has to dispatch."""
    lanes = {Lane.CRITICAL}
    if any(deed.name and _type_of(deed) in (NOTE, LIKE) for deed in deeds):
        lanes.add(Lane.BULK)
    return sorted(lanes)


def _type_of(deed: Deed) -> str:
    return (deed.out.key or b"::").decode().split(":")[2]


def tell(world: World, deeds: Sequence[Deed]) -> None:
    """Have all of it happen at its time."""
    for deed in deeds:
        if deed.id is not None:
            world.oracle.call(deed.id, deed.name)
        world.network.later(deed.at, world.log.append, deed.out)

"""The small catalogue of all simulations."""

import msgspec
from msgspec.structs import replace

from services.core.catalogue_file import parse_catalogue
from services.core.events import Cap, Channel, NotificationRequested
from services.core.identifiers import AccountName, TypeName
from services.core.ports import Access
from services.core.quiet import QuietHours
from services.core.quota import Per, Quota
from services.core.templates import Part, TemplateName, Templates
from services.core.validation import Fault, Rules
from services.runtime.catalogue import LoadedCatalogue

__all__ = [
    "ACCESSES",
    "ALERT",
    "CAP",
    "CAPPED",
    "CODE",
    "LIKE",
    "LIMITED",
    "LIST",
    "LOADED",
    "NIGHT",
    "NOTE",
    "NUDGE",
    "RESET",
    "SCARCE",
    "SLEEPY",
    "TEXTS",
    "limited",
]

#: the account of texts
TEXTS = AccountName("s")
#: newest wins, with a second account and a second channel
RESET = TypeName("reset")
#: as a reset, but that what stays unknown is sent again
ALERT = TypeName("alert")
#: lives for seconds
CODE = TypeName("code")
#: every one counts, in batches, on another lane
NOTE = TypeName("note")
#: goes on by email where its text did not arrive, and has failed where neither did
NUDGE = TypeName("nudge")
#: is told with others of its kind, of which there are some
LIKE = TypeName("like")
#: the one list that there is
LIST = "team"

_CATALOGUE = parse_catalogue(
    {
        "accounts": {
            "a": {"provider": "memory", "concurrency": 2, "batch": 3, "timeout": "1s"},
            "b": {"provider": "memory", "concurrency": 1, "batch": 3, "timeout": "1s"},
            "s": {"provider": "memory", "concurrency": 2, "timeout": "1s"},
        },
        "types": {
            RESET: {
                "lane": "critical",
                "deadline": "12s",
                "route": [
                    {"channel": "email", "accounts": ["a", "b"], "give_up_after": "2s"},
                    {"channel": "sms", "accounts": ["s"]},
                ],
            },
            ALERT: {
                "lane": "critical",
                "deadline": "20s",
                "when_unknown": "repeat",
                "route": [
                    {"channel": "email", "accounts": ["a", "b"], "give_up_after": "4s"},
                    {"channel": "sms", "accounts": ["s"]},
                ],
            },
            CODE: {
                "lane": "critical",
                "deadline": "3s",
                "route": [{"channel": "sms", "accounts": ["s"]}],
            },
            NOTE: {
                "lane": "bulk",
                "supersede": "never",
                "deadline": "15s",
                "route": [{"channel": "email", "accounts": ["b"]}],
            },
            LIKE: {
                "lane": "bulk",
                "supersede": "never",
                "deadline": "15s",
                "digest": {"window": "2s", "most": 3},
                "route": [{"channel": "email", "accounts": ["a", "b"]}],
            },
            NUDGE: {
                "lane": "critical",
                "deadline": "20s",
                "route": [
                    {
                        "channel": "sms",
                        "accounts": ["s"],
                        "give_up_after": "2s",
                        "success": "delivered",
                        "within": "2s",
                    },
                    {
                        "channel": "email",
                        "accounts": ["a", "b"],
                        "give_up_after": "3s",
                        "success": "delivered",
                        "within": "3s",
                    },
                ],
            },
        },
    },
    version="simulated",
)
_TEXTS = {
    TemplateName(type, channel, "en", part): "{{ words }}"
    for type, channel in (
        (RESET, Channel.EMAIL),
        (RESET, Channel.SMS),
        (ALERT, Channel.EMAIL),
        (ALERT, Channel.SMS),
        (CODE, Channel.SMS),
        (NOTE, Channel.EMAIL),
        (NUDGE, Channel.SMS),
        (NUDGE, Channel.EMAIL),
    )
    for part in ((Part.SUBJECT, Part.TEXT) if channel is Channel.EMAIL else (Part.TEXT,))
} | {
    TemplateName(LIKE, Channel.EMAIL, "en", part): (
        "{{ items | map(attribute='words') | join(' ') }}"
    )
    for part in (Part.SUBJECT, Part.TEXT)
}
_TEMPLATES = Templates(_TEXTS)
_SCHEMAS: dict[TypeName, object] = {
    type: {"type": "object"} for type in (RESET, ALERT, CODE, NOTE, NUDGE, LIKE)
}


class _RememberingRules(Rules):
    """Judges no address twice: what a request says of people is the same in all lives."""

    def __init__(self) -> None:
        super().__init__(_CATALOGUE, _SCHEMAS, _TEMPLATES)
        self._judged: dict[bytes, list[Fault]] = {}

    def validate_request(self, request: NotificationRequested) -> list[Fault]:
        asked = msgspec.json.encode(replace(request, id=None))
        if asked not in self._judged:
            self._judged[asked] = super().validate_request(request)
        return self._judged[asked]


LOADED = LoadedCatalogue(
    catalogue=_CATALOGUE,
    schemas=_SCHEMAS,
    templates=_TEMPLATES,
    rules=_RememberingRules(),
    texts=_TEXTS,
)


def limited(*, concurrency: int | None = None, **quotas: Quota) -> LoadedCatalogue:
    """The same with quotas, by account; and with more in flight at once, if told."""
    accounts = {
        name: replace(
            account,
            quota=quotas.get(name),
            concurrency=concurrency or account.concurrency,
            batch=quotas[name].batch if name in quotas else account.batch,
        )
        for name, account in _CATALOGUE.accounts.items()
    }
    return replace(LOADED, catalogue=replace(_CATALOGUE, accounts=accounts))


#: so little that a few requests at once are too many
LIMITED = limited(
    a=Quota(limits={Per.SECOND: 2}, batch=3),
    b=Quota(limits={Per.SECOND: 3}, batch=3, shared=True),
)
#: so little that some are never sent
SCARCE = limited(
    a=Quota(limits={Per.SECOND: 1}, batch=3),
    b=Quota(limits={Per.SECOND: 3, Per.MINUTE: 6}, batch=3, shared=True),
)
#: two of any kind that is superseded, in so short a time
CAP = Cap(scope="category:urgent", most=2, per_ms=6_000, words="they had two")
#: so much is asked for that some of it is too many
CAPPED = replace(
    LOADED,
    catalogue=replace(
        _CATALOGUE,
        types={
            name: replace(type, caps=(CAP,)) if name in (RESET, ALERT) else type
            for name, type in _CATALOGUE.types.items()
        },
    ),
)
#: some four seconds of night, and some more a while later
NIGHT = QuietHours(4, 8)
SLEEPY = replace(
    LOADED,
    catalogue=replace(
        _CATALOGUE,
        types={
            name: replace(type, quiet_hours=NIGHT) if name in (RESET, NOTE, NUDGE) else type
            for name, type in _CATALOGUE.types.items()
        },
    ),
)
ACCESSES = {
    AccountName(name): Access(
        account=account, base_url="https://vendor.test", secrets={}, callback_url=""
    )
    for name, account in _CATALOGUE.accounts.items()
}

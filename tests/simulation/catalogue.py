"""The small catalogue of all simulations."""

from services.core.catalogue import parse_catalogue
from services.core.events import Channel
from services.core.identifiers import AccountName, TypeName
from services.core.ports import Access
from services.core.templates import Part, TemplateName, Templates
from services.core.validation import Rules
from services.runtime.catalogue import LoadedCatalogue

__all__ = ["ACCESSES", "CODE", "LOADED", "NOTE", "RESET"]

#: newest wins, with a second account and a second channel
RESET = TypeName("reset")
#: lives for seconds
CODE = TypeName("code")
#: every one counts, in batches, on another lane
NOTE = TypeName("note")

_CATALOGUE = parse_catalogue(
    {
        "accounts": {
            "a": {"provider": "memory", "concurrency": 2, "timeout": "1s"},
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
        },
    },
    version="simulated",
)
_TEMPLATES = Templates(
    {
        TemplateName(type, channel, "en", part): "hello"
        for type, channel in (
            (RESET, Channel.EMAIL),
            (RESET, Channel.SMS),
            (CODE, Channel.SMS),
            (NOTE, Channel.EMAIL),
        )
        for part in ((Part.SUBJECT, Part.TEXT) if channel is Channel.EMAIL else (Part.TEXT,))
    }
)
_SCHEMAS: dict[TypeName, object] = {type: {"type": "object"} for type in (RESET, CODE, NOTE)}
LOADED = LoadedCatalogue(
    catalogue=_CATALOGUE,
    schemas=_SCHEMAS,
    templates=_TEMPLATES,
    rules=Rules(_CATALOGUE, _SCHEMAS, _TEMPLATES),
)
ACCESSES = {
    AccountName(name): Access(
        account=account, base_url="https://vendor.test", secrets={}, callback_url=""
    )
    for name, account in _CATALOGUE.accounts.items()
}

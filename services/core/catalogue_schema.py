"""The JSON Schema of ``lastword.toml``, for editors that complete and check while one writes."""

from typing import Any

import msgspec

from services.core.catalogue_file import DURATION, NAME, RawCatalogue

__all__ = ["catalogue_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DURATION = "A duration: 90s, 15m, 1h30m."
_DURATIONS = (
    "timeout",
    "settling",
    "jitter",
    "deadline",
    "give_up_after",
    "within",
    "per",
    "window",
)
#: what each field means, by its table
_WORDS: dict[str, dict[str, str]] = {
    "RawCatalogue": {
        "accounts": "The accounts at providers, by name. Secrets come from the environment.",
        "types": "The kinds of notification, by name.",
        "categories": "What recipients may have preferences about, by name.",
        "quiet_hours": "Times of day at which types that name them wait, by name.",
        "time_zone": "Of those of whom nobody says where they live: an IANA name.",
    },
    "RawDigest": {
        "window": "Its items are collected for so long, from the first one on; a week at the most.",
        "most": "With so many it is sent at once.",
    },
    "RawQuietHours": {
        "from": "A time of day where the recipient lives: 22:00.",
        "to": "It may be on the next day: 08:00.",
    },
    "RawCategory": {
        "required": "They cannot opt out: it is sent as long as their address can be reached.",
        "cap": "How many of its types somebody gets in any such time; what is more is suppressed.",
    },
    "RawCap": {
        "most": "So many.",
        "per": "In any time as long as this, two weeks at the most.",
    },
    "RawAccount": {
        "provider": "Whose account it is, as `lastword check` knows them.",
        "concurrency": "Requests in flight at once, per dispatch process.",
        "batch": "Messages in one request, where the provider has a batch call.",
        "timeout": "Of a whole request, from its first byte to the last of the reply.",
        "settling": "How long the provider may take to show a message that it took.",
        "quota": "What the provider allows in any such time; without it, as much as we like.",
        "price": "Of one message, or one segment of a text, in whatever money one counts.",
        "prices": "By country (ISO 3166: DE, US), where the price is another.",
        "countries": "A text goes to numbers of these alone (ISO 3166: DE, US); by default to all.",
        "settings": "The provider's own: sender address, message stream, domain.",
    },
    "RawQuota": {
        "per_second": "At the most so many in any second, by the provider's clock.",
        "per_minute": "In any minute.",
        "per_hour": "In any hour.",
        "per_day": "In any day.",
        "jitter": "How far deliveries to the provider may spread.",
    },
    "RawType": {
        "lane": "Which topics and consumers it has; a type stays in its lane for good.",
        "deadline": "From the request on; after that it is dropped rather than sent.",
        "route": "The ways to reach somebody, one after the other.",
        "supersede": "latest: a newer one of the key takes the place of one that waits.",
        "when_unknown": "What becomes of an attempt that nobody can find: held, or repeated.",
        "digest": "What is asked for in a while becomes one notification, with all of its items.",
        "quiet_hours": "At these times of day, where the recipient lives, it waits.",
        "throttle": "How many of it somebody gets in any such time; what is more is suppressed.",
        "category": "What recipients may not want; by default the type is one of its own.",
    },
    "RawLeg": {
        "channel": "How a person is reached.",
        "accounts": "To be tried in this order, unless prefer or weights say another.",
        "prefer": "listed: in this order. cheapest: by price, in the country of a phone number.",
        "weights": "How often each account is the first, beside the others: main = 3, spare = 1.",
        "give_up_after": "How long none of them may work before the next leg has its turn.",
        "success": "accepted, delivered or seen: with less, the next leg has its turn.",
        "within": "How long the receipt that says delivered or seen may take.",
    },
}


def catalogue_schema() -> dict[str, Any]:
    """A document of draft 2020-12, made from the structs that read the file."""
    (reference,), parts = msgspec.json.schema_components(
        [RawCatalogue], ref_template="#/$defs/{name}"
    )
    for name, words in _WORDS.items():
        for field, meaning in words.items():
            parts[name]["properties"][field]["description"] = meaning
        parts[name].pop("title", None)
    for name, field in _durations(parts):
        _narrow(parts[name]["properties"][field], {"pattern": f"^{DURATION}$"}, _DURATION)
    for table in ("accounts", "types", "categories", "quiet_hours"):
        parts["RawCatalogue"]["properties"][table]["propertyNames"] = {"pattern": f"^{NAME}$"}
    return {"$schema": _DIALECT, "title": "lastword.toml", **reference, "$defs": parts}


def _durations(parts: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, field)
        for name, part in parts.items()
        for field in part.get("properties", {})
        if field in _DURATIONS
    ]


def _narrow(field: dict[str, Any], more: dict[str, Any], words: str) -> None:
    """Its texts are to be like this; that it may be missing stays."""
    field["description"] = f"{field['description']} {words}"
    for option in field.get("anyOf", [field]):
        if option.get("type") == "string":
            option.update(more)

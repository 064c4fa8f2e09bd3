"""Whose inbox an address is: the few that most mail goes to, and the rest. Pure.

A provider may be heard by one of them and not by another, so its figures are told apart by this,
which says nothing of the person.
"""

import re
from collections.abc import Mapping

from services.core.addresses import country_of
from services.core.events import Channel

__all__ = ["OTHER", "group_of"]

OTHER = "other"
_GMAIL, _MICROSOFT, _YAHOO, _APPLE = "gmail", "microsoft", "yahoo", "apple"
#: those with a domain for many a country: yahoo.co.uk, hotmail.fr, live.com.mx
_FAMILY = re.compile(r"(\w+)\.(?:com|[a-z]{2}|(?:com|co|ne)\.[a-z]{2})", re.ASCII)
_FAMILIES: Mapping[str, str] = {
    "hotmail": _MICROSOFT,
    "live": _MICROSOFT,
    "outlook": _MICROSOFT,
    "aol": _YAHOO,
    "yahoo": _YAHOO,
}
_DOMAINS: Mapping[str, str] = {
    "gmail.com": _GMAIL,
    "googlemail.com": _GMAIL,
    "msn.com": _MICROSOFT,
    "passport.com": _MICROSOFT,
    "aim.com": _YAHOO,
    "rocketmail.com": _YAHOO,
    "ymail.com": _YAHOO,
    "icloud.com": _APPLE,
    "mac.com": _APPLE,
    "me.com": _APPLE,
}


def group_of(channel: Channel, address: str) -> str:
    """Of an email address its inbox provider, of a number its country (ISO 3166)."""
    if channel is Channel.SMS:
        return country_of(address) or OTHER
    domain = address.rpartition("@")[2].lower()
    family = _FAMILY.fullmatch(domain)
    return _DOMAINS.get(domain) or _FAMILIES.get(family[1] if family else "", OTHER)

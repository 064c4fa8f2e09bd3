"""Addresses: what may be written to, and what never.

Email: ASCII on both sides (providers differ on the rest; an international domain is given in its
``xn--`` form), no quoted names, no address literals. ``.test`` and ``.example`` pass, since nobody
is there; ``localhost``, ``.local``, ``.invalid``, ``.onion`` do not. Nothing is looked up.

Phone: E.164 and possible by its country's numbering plan. Whether it is assigned is the provider's
to say, so numbers kept for documentation pass. What costs its caller (premium rate, shared cost)
and what belongs to no country (satellites, international networks) is refused.
"""

import re
from functools import lru_cache

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from phonenumbers import NumberParseException, PhoneNumberType

__all__ = ["country_of", "email_fault", "is_country", "phone_fault", "unclean"]

# control, format (bidi, zero width), surrogate and separator characters, as categories cannot
# be named in a pattern
_UNCLEAN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_COSTLY = frozenset(
    (
        PhoneNumberType.PREMIUM_RATE,
        PhoneNumberType.SHARED_COST,
        PhoneNumberType.PAGER,
        PhoneNumberType.UAN,
        PhoneNumberType.VOICEMAIL,
    )
)
_NO_COUNTRY = "001"
#: with any domain that is one, it is an address
_PLAIN_LOCAL = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*")
_MAX_LOCAL, _MAX_EMAIL = 64, 254
#: addresses, of each kind, of which it is remembered what they are
_KNOWN = 65_536


def unclean(text: str) -> bool:
    """Whether characters are in it that cannot be seen: control, bidi, zero-width, surrogates."""
    return _UNCLEAN.search(text) is not None


@lru_cache(maxsize=_KNOWN)
def email_fault(address: str) -> str | None:
    """What is wrong with an email address; never holds the address."""
    if unclean(address):
        return "has control, bidi or zero-width characters"
    if not address.isascii():
        return "is not ASCII; write an international domain in its xn-- form"
    if any(mark in address for mark in ",;<> "):
        return "must be one address, without a name or a list"
    local, _, domain = address.rpartition("@")
    plain = len(local) <= _MAX_LOCAL and _PLAIN_LOCAL.fullmatch(local)
    if not (_is_domain(domain) if plain and len(address) <= _MAX_EMAIL else _is_email(address)):
        return "is no email address that can be written to"
    return None if "." in domain else "needs a domain with a dot"


def _is_email(address: str) -> bool:
    try:
        validate_email(address, check_deliverability=False, test_environment=True, strict=True)
    except EmailNotValidError:
        return False
    return True


@lru_cache(maxsize=_KNOWN)
def _is_domain(domain: str) -> bool:
    return _is_email(f"a@{domain}")


@lru_cache(maxsize=_KNOWN)
def country_of(number: str) -> str | None:
    """The country of a number in E.164, in ISO 3166's two letters; None where it has none.

    Of one that is not assigned, the first of those that share its country code.
    """
    try:
        parsed = phonenumbers.parse(number)
    except NumberParseException:
        return None
    code = parsed.country_code or 0
    own = phonenumbers.region_code_for_number(parsed)
    return own or phonenumbers.region_code_for_country_code(code)


def is_country(letters: str) -> bool:
    return letters in phonenumbers.SUPPORTED_REGIONS


@lru_cache(maxsize=_KNOWN)
def phone_fault(number: str) -> str | None:
    """What is wrong with a phone number; never holds the number."""
    if not _E164.fullmatch(number):
        return "must be E.164: a plus, the country code and digits only"
    try:
        parsed = phonenumbers.parse(number)
    except NumberParseException:
        return "has no known country code"
    if phonenumbers.region_code_for_country_code(parsed.country_code or 0) == _NO_COUNTRY:
        return "belongs to no country: satellite and international networks are refused"
    if not phonenumbers.is_possible_number(parsed):
        return "cannot be a number in its country: it is too long or too short"
    if phonenumbers.number_type(parsed) in _COSTLY:
        return "is a premium-rate or special number, which is refused"
    return None

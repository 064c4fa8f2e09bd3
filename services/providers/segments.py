"""How many parts an SMS takes: what providers price and limit by.

A part has 140 bytes. In the GSM alphabet that is 160 characters alone and 153 in a chain; one
character outside of it makes the whole text UCS-2: 70 alone, 67 in a chain.
"""

__all__ = ["segments"]

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
#: each costs two
_EXTENDED = frozenset("^{}\\[~]|€\f")


def segments(text: str) -> int:
    """At least one."""
    costs = [1 if c in _BASIC else 2 if c in _EXTENDED else None for c in text]
    if None not in costs:
        return _parts([cost for cost in costs if cost is not None], alone=160, chained=153)
    # beyond the basic plane a character takes two units, which stay together
    return _parts([len(c.encode("utf-16-le")) // 2 for c in text], alone=70, chained=67)


def _parts(costs: list[int], *, alone: int, chained: int) -> int:
    if sum(costs) <= alone:
        return 1
    parts, used = 1, 0
    for cost in costs:
        if used + cost > chained:
            parts, used = parts + 1, 0
        used += cost
    return parts

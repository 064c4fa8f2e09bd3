"""Whose inbox an address is."""

import pytest

from services.core.events import Channel
from services.core.mailbox_groups import group_of


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("ann@gmail.com", "gmail"),
        ("ann@GoogleMail.com", "gmail"),
        ("ann@hotmail.co.uk", "microsoft"),
        ("ann@live.com.mx", "microsoft"),
        ("ann@outlook.de", "microsoft"),
        ("ann@yahoo.co.jp", "yahoo"),
        ("ann@ymail.com", "yahoo"),
        ("ann@me.com", "apple"),
        ("ann@example.test", "other"),
        ("ann@live.example.com", "other"),
        ("ann@mail.yahoo.example", "other"),
        ("ann@", "other"),
    ],
)
def test_a_mailbox_is_known_by_its_domain(address: str, group: str) -> None:
    assert group_of(Channel.EMAIL, address) == group


def test_a_number_is_known_by_its_country() -> None:
    assert group_of(Channel.SMS, "+491512345678") == "DE"
    assert group_of(Channel.SMS, "no number") == "other"

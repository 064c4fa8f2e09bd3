"""What an SMS costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.providers.segments import segments


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 152 + "€" * 5, 2),
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("a" * 69 + "ж", 1),
        ("a" * 70 + "ж", 2),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("😀" * 67, 3),
    ],
)
def test_parts_are_counted_as_the_networks_count_them(text: str, parts: int) -> None:
    assert segments(text) == parts


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_longer_text_never_costs_less(text: str) -> None:
    assert segments(text) <= segments(text + "a") <= segments(text + "ж")

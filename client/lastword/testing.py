"""The pytest plugin: fixtures with which a test says what was sent, with nothing running.

It is loaded by itself wherever lastword is installed::

    def test_a_reset_tells_the_user(fake_lastword):
        reset_password("u1", lastword=fake_lastword)
        fake_lastword.assert_sent("u1", "password_reset", code="123456")

Without pytest, take ``FakeLastword`` from ``lastword.fakes``.
"""

import pytest

from lastword.fakes import FakeAsyncLastword, FakeLastword

__all__ = ["FakeAsyncLastword", "FakeLastword", "fake_async_lastword", "fake_lastword"]


@pytest.fixture
def fake_lastword() -> FakeLastword:
    """A ``Lastword`` that remembers what it was asked to send, new for each test."""
    return FakeLastword()


@pytest.fixture
def fake_async_lastword() -> FakeAsyncLastword:
    """An ``AsyncLastword`` that remembers what it was asked to send, new for each test."""
    return FakeAsyncLastword()

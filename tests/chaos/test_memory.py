"""Dispatch may not have the memory that a flood wants: it holds back, or dies and loses nothing."""

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

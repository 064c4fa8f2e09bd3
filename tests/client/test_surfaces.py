"""The clients, real and fake, are called alike."""

import inspect
import subprocess
import sys

import pytest

from lastword import AsyncLastword, Lastword
from lastword.fakes import FakeAsyncLastword, FakeLastword

CALLS = [
    "send",
    "send_many",
    "cancel",
    "put_recipient",
    "remove_recipient",
    "put_member",
    "remove_member",
    "close",
]


@pytest.mark.parametrize("name", ["__init__", "kafka", *CALLS])
def test_the_awaited_client_takes_what_the_blocking_one_takes(name: str) -> None:
    blocking, awaited = getattr(Lastword, name), getattr(AsyncLastword, name)
    assert inspect.signature(awaited) == inspect.signature(blocking)
    assert inspect.iscoroutinefunction(awaited) is (name in CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_the_fakes_calls_are_those_of_the_real_clients(name: str) -> None:
    assert getattr(FakeLastword, name) is getattr(Lastword, name)
    assert getattr(FakeAsyncLastword, name) is getattr(AsyncLastword, name)


def test_importing_the_library_loads_neither_the_engine_nor_what_it_may_not_need() -> None:
    heavy = ["services", "schemas", "confluent_kafka", "pytest", "httpx", "ssl", "asyncio"]
    script = f"import sys, lastword; print(*(set({heavy}) & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == []

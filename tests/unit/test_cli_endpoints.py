"""The file of addresses: whole at any moment, its owner's alone, and missed with advice."""

import stat
from pathlib import Path

import msgspec
import pytest

from services.cli.endpoints import (
    Endpoints,
    forget_endpoints,
    kafka_of,
    read_endpoints,
    write_endpoints,
)
from services.core.errors import Retryable

ENDPOINTS = Endpoints(
    kafka="127.0.0.1:9092",
    postgres="postgresql://postgres:secret@127.0.0.1/lastword",
    ingest="http://127.0.0.1:8080",
    tracker="http://127.0.0.1:8081",
    sandbox="http://127.0.0.1:8025",
    metrics={"ingest": "http://127.0.0.1:8080/metrics"},
    pids={"ingest": 1},
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_endpoints(tmp_path, ENDPOINTS)
    assert read_endpoints(tmp_path) == ENDPOINTS


def test_the_file_has_the_keys_that_others_rely_on(tmp_path: Path) -> None:
    write_endpoints(tmp_path, ENDPOINTS)
    document = msgspec.json.decode((tmp_path / "endpoints.json").read_bytes(), type=dict)
    assert document.keys() >= {
        "kafka",
        "postgres",
        "ingest",
        "tracker",
        "sandbox",
        "metrics",
        "pids",
    }


def test_only_the_owner_may_read_the_password_in_it(tmp_path: Path) -> None:
    write_endpoints(tmp_path, ENDPOINTS)
    write_endpoints(tmp_path, ENDPOINTS)
    assert stat.S_IMODE((tmp_path / "endpoints.json").stat().st_mode) == 0o600


def test_without_it_a_person_is_told_what_to_start(tmp_path: Path) -> None:
    write_endpoints(tmp_path, ENDPOINTS)
    forget_endpoints(tmp_path)
    with pytest.raises(Retryable, match="Start `lastword up`"):
        read_endpoints(tmp_path)


def test_half_a_file_is_told_from_none(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text("{")
    with pytest.raises(Retryable, match="is damaged"):
        read_endpoints(tmp_path)


def test_a_kafka_that_is_named_wins_over_the_one_that_runs_here(tmp_path: Path) -> None:
    write_endpoints(tmp_path, ENDPOINTS)
    named = {"bootstrap.servers": "other:9092"}
    assert kafka_of(named, tmp_path) == named
    found = kafka_of({"client.id": "me"}, tmp_path)
    assert found == {"client.id": "me", "bootstrap.servers": "127.0.0.1:9092"}

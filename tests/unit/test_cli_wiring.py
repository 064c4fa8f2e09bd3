"""What each service is told."""

import socket
from pathlib import Path

from services.cli.wiring import Binds, ready_url, with_sandbox
from services.core.catalogue_file import parse_catalogue
from services.runtime.settings import Settings, read_settings

SETTINGS = Settings(kafka={"bootstrap.servers": "k:9092"}, postgres="p", catalogue=Path("/c c"))
CATALOGUE = parse_catalogue(
    {"accounts": {"post-1": {"provider": "postmark"}}, "types": {}}, version="1"
)


def test_ports_are_those_asked_for_where_they_are_free_and_never_the_same_twice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        binds = Binds(Settings(ingest_bind=f"127.0.0.1:{port}", tracker_bind=f"127.0.0.1:{port}"))
    chosen = [binds.ingest, binds.tracker, binds.sandbox, *binds.metrics.values()]
    assert len(set(chosen)) == len(chosen)
    assert f"127.0.0.1:{port}" not in chosen


def test_a_service_reads_what_it_was_told_and_nothing_else_of_ours() -> None:
    binds = Binds(SETTINGS)
    ours = {
        "PATH": "/bin",
        "LASTWORD_SECRET_POST_1_SERVER_TOKEN": "real",
        "LASTWORD_SANDBOX_SCRIPT": "faults.json",
    }
    told = with_sandbox(binds.into(SETTINGS), CATALOGUE, {"postmark": "http://127.0.0.1:1"})
    environment = binds.environment_of("router", told, Path("/run/router.json"), ours)
    read = read_settings(environment)
    assert environment["PATH"] == "/bin"
    assert environment["LASTWORD_SANDBOX_SCRIPT"] == "faults.json"
    assert read.metrics_bind == binds.metrics["router"]
    assert read.base_urls == {"postmark": "http://127.0.0.1:1"}
    assert read.secrets_of("post-1", ("server_token",))["server_token"].startswith("sandbox-")
    assert "real" not in environment.values()


def test_webhooks_come_in_at_the_tracker_unless_another_address_is_given() -> None:
    binds = Binds(SETTINGS)
    assert binds.into(SETTINGS).public_url == f"http://{binds.tracker}"
    behind = Settings(public_url="https://hooks.example.test")
    assert binds.into(behind).public_url == "https://hooks.example.test"


def test_clients_on_this_machine_are_given_an_address_that_they_can_call() -> None:
    binds = Binds(Settings(ingest_bind="0.0.0.0:0", tracker_bind="[::1]:0"))
    endpoints = binds.endpoints(SETTINGS)
    assert binds.ingest.startswith("0.0.0.0:")
    assert endpoints.ingest.startswith("http://127.0.0.1:")
    assert endpoints.tracker.startswith("http://[::1]:")
    assert endpoints.metrics.keys() == {"ingest", "router", "dispatch", "tracker", "health"}


def test_each_service_is_asked_where_it_listens() -> None:
    assert ready_url("sandbox", {"url": "http://s"}) == "http://s/healthz"
    assert ready_url("router", {"metrics": "http://r/metrics"}) == "http://r/readyz"
    assert ready_url("ingest", {"ingest": "http://i"}) == "http://i/readyz"

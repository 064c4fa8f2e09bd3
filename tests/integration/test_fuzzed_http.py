"""Whatever a stranger sends over HTTP is answered as the description says, and never with 5xx.

Requests are made from the descriptions by schemathesis: of what they allow, of what they do not,
and at the edges of both.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from services.ingest.app import serve as serve_ingest
from services.runtime.catalogue import load_catalogue
from services.runtime.settings import Settings
from services.runtime.topics import create_topics
from services.sandbox.credentials import sandbox_secrets
from services.tracker.app import serve as serve_tracker
from tests.integration.threads import running_in_thread
from tests.integration.tracker_api import describe
from tests.integration.tracking import POSTMARK, SHOP, settings_for

CONFIG = Path(__file__).with_name("schemathesis.toml")
#: what a description cannot say is told by the answer: of an address that is none, for example, or
#: of data that does not fit its type's own schema
UNSAID = "positive_data_acceptance"
SEED = os.environ.get("LASTWORD_SEED", "1")
KEY = {"Authorization": "Bearer secret"}
PROFILES = pytest.mark.parametrize(
    "examples", [20, pytest.param(1500, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)


@pytest.fixture(scope="module")
def ingest(
    kafka_properties: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """With a key of the default tenant, which is what examples without one name."""
    create_topics(AdminClient(dict(kafka_properties)), partitions=3, replication=1)
    settings = Settings(
        kafka=kafka_properties,
        catalogue=SHOP,
        ingest_bind="127.0.0.1:0",
        api_keys={"secret": "default"},
    )
    folder = tmp_path_factory.mktemp("ingest")
    with running_in_thread(serve_ingest, settings, folder) as addresses:
        yield addresses["ingest"]


@pytest.fixture
def tracker(kafka_properties: dict[str, str], database: str, tmp_path: Path) -> Iterator[str]:
    settings = settings_for(kafka_properties, database, tmp_path, api_keys={"secret": "default"})
    with running_in_thread(serve_tracker, settings, tmp_path) as addresses:
        yield addresses["tracker"]


def fuzz(
    folder: Path, description: str, examples: int, headers: Mapping[str, str], *more: str
) -> None:
    """Raises with schemathesis' own report where something is not as described."""
    command = [sys.executable, "-m", "schemathesis.cli", "--no-color", f"--config-file={CONFIG}"]
    command += ["run", description, f"--max-examples={examples}", f"--seed={SEED}"]
    command += [
        "--phases=examples,coverage,fuzzing",
        "--checks=all",
        "--warnings=off",
        f"--exclude-checks={UNSAID}",
        *more,
    ]
    command += [f"--header={name}: {value}" for name, value in headers.items()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Test cases:" in done.stdout, done.stdout


@PROFILES
def test_ingest_answers_as_it_describes_itself(ingest: str, tmp_path: Path, examples: int) -> None:
    fuzz(tmp_path, f"{ingest}/openapi.json", examples, KEY)


@PROFILES
def test_the_tracker_answers_questions_and_webhooks_as_described(
    tracker: str, tmp_path: Path, examples: int
) -> None:
    """Some of the webhooks carry Postmark's secret, so that they are read."""
    description = tmp_path / "tracker.json"
    accounts = list(load_catalogue(SHOP).catalogue.accounts)
    description.write_text(json.dumps(describe(accounts)))
    secret = sandbox_secrets("postmark", POSTMARK)["webhook_secret"]
    headers = {**KEY, "X-Webhook-Secret": secret}
    fuzz(tmp_path, str(description), examples, headers, f"--url={tracker}")

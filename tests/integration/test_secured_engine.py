"""Any librdkafka property passes through the settings: a broker with TLS and SCRAM."""

from pathlib import Path

from services.runtime.settings import Settings, read_settings, to_environment
from tests.integration.secured import secured_kafka
from tests.integration.stack import running_stack

RESET = {"name": "Ada", "reset_url": "https://shop.example.test/reset/abc"}


async def test_the_whole_engine_runs_on_a_broker_with_tls_and_a_password(
    tmp_path: Path, database: str
) -> None:
    with secured_kafka(tmp_path) as kafka:
        given = to_environment(Settings(kafka=kafka.client_properties))
        assert given["LASTWORD_KAFKA_X_SASL_MECHANISM"] == "SCRAM-SHA-512"
        async with running_stack(read_settings(given).kafka, database) as stack:
            id = await stack.request(
                user="ada", type="password_reset", to={"email": "ada@example.test"}, data=RESET
            )
            assert (await stack.until(id, "delivered"))["closed"]

"""Kafka's properties in Faust's terms, or a clear word about what it cannot take."""

from pathlib import Path

import pytest
import trustme
from faust import SASLCredentials, SSLCredentials

from services.core.errors import Misconfigured
from services.tracker.health.connecting import brokers, credentials

SCRAM = {
    "security.protocol": "sasl_plaintext",
    "sasl.mechanism": "SCRAM-SHA-512",
    "sasl.username": "lastword",
    "sasl.password": "right",
}


def test_every_bootstrap_server_is_asked() -> None:
    servers = {"bootstrap.servers": "one:9092, SASL_SSL://two:9093"}
    assert brokers(servers) == ["kafka://one:9092", "kafka://two:9093"]


def test_in_plain_text_nobody_has_to_say_who_they_are() -> None:
    assert credentials({"bootstrap.servers": "one:9092", "session.timeout.ms": "4000"}) is None


def test_a_password_is_handed_on() -> None:
    found = credentials(SCRAM)
    assert isinstance(found, SASLCredentials)
    assert (found.username, found.password) == ("lastword", "right")
    assert (found.mechanism.value, found.protocol.value) == ("SCRAM-SHA-512", "SASL_PLAINTEXT")


def test_who_signed_the_broker_s_certificate_is_told_by_a_file_or_as_it_is(tmp_path: Path) -> None:
    pem = trustme.CA().cert_pem.bytes()
    (tmp_path / "ca.pem").write_bytes(pem)
    for ca in ({"ssl.ca.location": str(tmp_path / "ca.pem")}, {"ssl.ca.pem": pem.decode()}):
        alone = credentials({"security.protocol": "SSL", **ca})
        assert isinstance(alone, SSLCredentials)
        assert alone.context.check_hostname
        assert len(alone.context.get_ca_certs()) == 1
    both = credentials({**SCRAM, "security.protocol": "SASL_SSL", **ca})
    assert isinstance(both, SASLCredentials)
    assert both.protocol.value == "SASL_SSL"


def test_a_name_that_is_not_to_be_checked_is_not() -> None:
    found = credentials(
        {"security.protocol": "ssl", "ssl.endpoint.identification.algorithm": "none"}
    )
    assert isinstance(found, SSLCredentials)
    assert not found.context.check_hostname


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.oauthbearer.config", "principal=me"),
        ("ssl.keystore.location", "keys.p12"),
        ("ssl.ca.location", "nowhere.pem"),
    ],
)
def test_what_faust_cannot_take_is_named(name: str, value: str) -> None:
    with pytest.raises(Misconfigured, match=name if value != "nowhere.pem" else "certificate"):
        credentials({**SCRAM, "security.protocol": "SASL_SSL", name: value})

"""Kafka's properties, as librdkafka has them, in Faust's terms."""

import ssl
from collections.abc import Mapping

from faust import SASLCredentials, SSLCredentials
from faust.auth import Credentials

from services.core.errors import Misconfigured

__all__ = ["brokers", "credentials"]

_DEFAULT_PORT = 9092
#: what is read here; what says no more than how librdkafka is to work is let be
_READ = (
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
)
_WITHOUT = "do not run it (`lastword up --no-health`), and all goes as the catalogue says"
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def brokers(kafka: Mapping[str, str]) -> list[str]:
    """The bootstrap servers as addresses."""
    servers = (server.strip() for server in kafka["bootstrap.servers"].split(","))
    return [f"kafka://{server.rpartition('://')[2]}" for server in servers if server]


def credentials(kafka: Mapping[str, str]) -> Credentials | None:
    """None where anybody may connect; raises ``Misconfigured`` on what Faust does not know."""
    for name in kafka:
        if name.startswith(("sasl.", "ssl.")) and name not in _READ:
            raise Misconfigured(f"health cannot take the Kafka property {name}: {_WITHOUT}")
    protocol = kafka.get("security.protocol", "plaintext").upper()
    context = _context(kafka) if protocol.endswith("SSL") else None
    if protocol.startswith("SASL_"):
        return SASLCredentials(
            username=kafka.get("sasl.username"),
            password=kafka.get("sasl.password"),
            mechanism=_mechanism(kafka),
            ssl_context=context,
        )
    return None if context is None else SSLCredentials(context)


def _mechanism(kafka: Mapping[str, str]) -> str:
    named = kafka.get("sasl.mechanism") or kafka.get("sasl.mechanisms") or "GSSAPI"
    if named.upper() not in _MECHANISMS:
        raise Misconfigured(
            f"health cannot take the sasl.mechanism {named}, but for {', '.join(_MECHANISMS)}:"
            f" {_WITHOUT}"
        )
    return named.upper()


def _context(kafka: Mapping[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cafile=kafka.get("ssl.ca.location"), cadata=kafka.get("ssl.ca.pem")
        )
        if certificate := kafka.get("ssl.certificate.location"):
            key = kafka.get("ssl.key.location")
            context.load_cert_chain(certificate, key, kafka.get("ssl.key.password"))
    except OSError as error:
        raise Misconfigured(f"a certificate of Kafka's cannot be used: {error}") from error
    named = kafka.get("ssl.endpoint.identification.algorithm", "https").lower()
    context.check_hostname = named == "https"
    return context

"""An embedded broker behind TLS and SCRAM, with certificates made for the test."""

from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.embedded.kafka_config import Sasl

__all__ = ["secured_kafka"]


def secured_kafka(folder: Path) -> EmbeddedKafka:
    """Not started yet; the user is ``lastword``, the password ``right``."""
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "localhost")
    sasl = Sasl(
        user="lastword",
        password="right",
        key=_as_pkcs8(server.private_key_pem.bytes()),
        certificates="".join(pem.bytes().decode() for pem in server.cert_chain_pems),
        authority=authority.cert_pem.bytes().decode(),
    )
    return EmbeddedKafka(folder, sasl=sasl)


def _as_pkcs8(pem: bytes) -> str:
    """The only form of a key that Kafka reads."""
    key = serialization.load_pem_private_key(pem, None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()

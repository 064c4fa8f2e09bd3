"""What tests on a real Kafka share, beside the servers of ``tests/conftest.py``."""

import time

import pytest
from confluent_kafka.admin import AdminClient

from services.core.layout import layout


@pytest.fixture(scope="module")
def fresh_log(kafka_properties: dict[str, str]) -> None:
    """No topic of ours is left from another module: whoever needs them makes them anew."""
    _delete_topics(kafka_properties)


@pytest.fixture
def empty_log(kafka_properties: dict[str, str]) -> None:
    """No topic of ours is left from another test."""
    _delete_topics(kafka_properties)


def _delete_topics(kafka: dict[str, str]) -> None:
    admin = AdminClient(dict(kafka))
    ours = {spec.name for spec in layout()} & set(admin.list_topics(timeout=30).topics)
    for deleted in admin.delete_topics(list(ours)).values() if ours else ():
        deleted.result(30)
    while ours & set(admin.list_topics(timeout=30).topics):
        time.sleep(0.05)

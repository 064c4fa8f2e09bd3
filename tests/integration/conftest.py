"""What tests on a real Kafka share, beside the servers of ``tests/conftest.py``."""

import time

import pytest
from confluent_kafka.admin import AdminClient

from services.core.layout import layout


@pytest.fixture(scope="module")
def fresh_log(kafka_properties: dict[str, str]) -> None:
    """No topic of ours is left from another module: whoever needs them makes them anew."""
    admin = AdminClient(dict(kafka_properties))
    ours = {spec.name for spec in layout()} & set(admin.list_topics(timeout=30).topics)
    for deleted in admin.delete_topics(list(ours)).values() if ours else ():
        deleted.result(30)
    while ours & set(admin.list_topics(timeout=30).topics):
        time.sleep(0.05)

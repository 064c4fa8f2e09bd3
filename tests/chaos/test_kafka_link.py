"""A dispatcher is alone: Kafka is out of its reach, and the provider is not."""

import time

import pytest

from tests.chaos.house import House
from tests.chaos.looks import owned, sent_bytes
from tests.chaos.plugin import Prove
from tests.chaos.proxy import Proxy, Way
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import Still, until

pytestmark = pytest.mark.slow

#: what a lease lasts, after which nothing that it granted is sent
_LEASE_S = 5.0


def test_row_10_dispatcher_cut_off_from_kafka_alone(
    either_house: House, traffic: Traffic, prove: Prove
) -> None:
    house = either_house
    alone, heir = house["dispatch"], house["dispatch-2"]
    heir.start()
    until(lambda: owned(alone) and owned(heir), "both have partitions")
    with traffic.steadily(20):
        until(lambda: len(traffic.accepted()) > 40, "traffic flows")
        until(lambda: sent_bytes(alone), "the one to be cut off sends too")
        before = owned(heir)
        # silence, not a refusal: what it said meanwhile arrives in the end
        alone.kafka.hold()
        cut_at = time.monotonic()
        sent = Still(lambda: sent_bytes(alone))
        sent.until_for(2.0)
        assert time.monotonic() - cut_at < _LEASE_S + 2.0, "no send after its lease"
        until(lambda: owned(heir) > before, "the heir is given its partitions")
        sent.hold_for(_LEASE_S)
        by_heir = sent_bytes(heir)
        until(lambda: sent_bytes(heir) > by_heir, "the heir sends")
        assert all(proxy.open_links for proxy in (alone.postgres, *_used(house)))
        prove(
            f"silent to Kafka alone for {time.monotonic() - cut_at:.0f} s: it sent nothing, and"
            f" {owned(heir) - before} partitions moved"
        )
        alone.kafka.mend()
        until(lambda: sent_bytes(alone) > sent.value, "it takes part again by itself")
    traffic.judge().assert_kept()


def _used(house: House) -> list[Proxy]:
    """Of the links to providers, those that are used at all."""
    return [proxy for proxy in house["dispatch"].providers.values() if proxy.seen[Way.OUT]]

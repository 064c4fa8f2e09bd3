"""Settings survive the way through the environment, whatever properties they hold."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.errors import Misconfigured
from services.runtime.settings import Settings, read_settings, to_environment

WORD = st.text("abcdefghij", min_size=1, max_size=5)
PROPERTY = st.lists(WORD, min_size=1, max_size=4).flatmap(
    lambda words: st.sampled_from([".".join(words), "_".join(words)])
)


@given(st.dictionaries(PROPERTY, st.text(max_size=10)))
def test_any_librdkafka_property_passes_through_the_environment(kafka: dict[str, str]) -> None:
    settings = Settings(kafka=kafka, registry=kafka, catalogue=Path("shop"))
    assert read_settings(to_environment(settings)) == settings


def test_the_bootstrap_servers_have_a_name_of_their_own() -> None:
    read = read_settings({"LASTWORD_KAFKA": "b:9092", "LASTWORD_KAFKA_X_LOG__LEVEL": "3"})
    assert read.kafka == {"bootstrap.servers": "b:9092", "log_level": "3"}


def test_a_missing_secret_is_named_by_its_variable() -> None:
    with pytest.raises(Misconfigured, match="LASTWORD_SECRET_MAIL_EU_SERVER_TOKEN"):
        Settings().secrets_of("mail-eu", ("server_token",))


def test_how_much_dispatch_holds_is_a_whole_number() -> None:
    assert read_settings({"LASTWORD_MOST_PENDING": "1000"}).most_pending == 1000
    assert read_settings(to_environment(Settings(most_pending=7))).most_pending == 7


@pytest.mark.parametrize("number", ["many", "0", "-1", "2.5", "inf", "nan"])
def test_what_is_no_whole_number_above_0_is_refused(number: str) -> None:
    with pytest.raises(Misconfigured, match="LASTWORD_MOST_PENDING"):
        read_settings({"LASTWORD_MOST_PENDING": number})


@pytest.mark.parametrize("keys", ["just-a-key", "key=", "=tenant"])
def test_a_key_without_its_tenant_is_refused(keys: str) -> None:
    with pytest.raises(Misconfigured, match="key=tenant"):
        read_settings({"LASTWORD_API_KEYS": keys})

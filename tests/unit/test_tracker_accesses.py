"""Accounts made ready for use, and what is said of those that lack something."""

from pathlib import Path

import pytest

from services.core.catalogue import Account, Catalogue
from services.core.errors import Misconfigured
from services.core.identifiers import AccountName
from services.providers import PROVIDERS
from services.runtime.access import build_accesses
from services.runtime.settings import Settings

NAME = AccountName("mail-1")
SECRETS = {"MAIL_1_SERVER_TOKEN": "token", "MAIL_1_WEBHOOK_SECRET": "secret"}
SMS = {"MAIL_1_AUTH_TOKEN": "token"}


def catalogue(provider: str = "postmark", **settings: str) -> Catalogue:
    account = Account(name=NAME, provider=provider, settings=settings)
    return Catalogue(version="1", accounts={NAME: account}, types={})


def test_an_account_has_its_secrets_and_its_two_addresses() -> None:
    settings = Settings(
        secrets=SECRETS,
        base_urls={"postmark": "http://127.0.0.1:1/"},
        public_url="https://hooks.example/",
        catalogue=Path(),
    )
    access = build_accesses(catalogue(**{"from": "a@shop.example"}), PROVIDERS, settings)[NAME]
    assert access.secrets == {"server_token": "token", "webhook_secret": "secret"}
    assert access.base_url == "http://127.0.0.1:1"
    assert access.callback_url == "https://hooks.example/webhooks/mail-1"


def test_without_another_address_it_is_the_vendors_own() -> None:
    settings = Settings(secrets=SECRETS)
    access = build_accesses(catalogue(**{"from": "a@shop.example"}), PROVIDERS, settings)[NAME]
    assert access.base_url == PROVIDERS["postmark"].default_base_url


def test_an_optional_secret_is_there_if_it_is_given() -> None:
    asked = catalogue("twilio", account_sid="AC1", **{"from": "+15005550006"})
    without = build_accesses(asked, PROVIDERS, Settings(secrets=SMS))[NAME]
    assert set(without.secrets) == {"auth_token"}
    more = Settings(secrets={**SMS, "MAIL_1_WEBHOOK_SHARED_KEY": "key"})
    assert build_accesses(asked, PROVIDERS, more)[NAME].secrets["webhook_shared_key"] == "key"


@pytest.mark.parametrize(
    ("asked", "secrets", "advice"),
    [
        (catalogue("pigeon"), {}, "no provider 'pigeon'; known: mailgun, postmark, twilio"),
        (catalogue(), SECRETS, "postmark needs from"),
        (catalogue(**{"from": "a@shop.example"}), {}, "LASTWORD_SECRET_MAIL_1_SERVER_TOKEN"),
        (
            catalogue(**{"from": "a@shop.example"}),
            {**SECRETS, "MAIL_1_WEBHOOK_SECRET": ""},
            "webhook_secret must not be empty",
        ),
    ],
)
def test_what_is_missing_is_named(asked: Catalogue, secrets: dict[str, str], advice: str) -> None:
    with pytest.raises(Misconfigured, match=advice):
        build_accesses(asked, PROVIDERS, Settings(secrets=secrets))


@pytest.mark.parametrize("name", ["SERVER_TOKEN", "WEBHOOK_SECRET"])
def test_a_secret_that_would_break_its_header_is_refused(name: str) -> None:
    """As one that was read from a file, with the line break at its end."""
    secrets = {**SECRETS, f"MAIL_1_{name}": "secret\n"}
    with pytest.raises(Misconfigured, match=f"{name.lower()} must not hold control") as refused:
        build_accesses(
            catalogue(**{"from": "a@shop.example"}), PROVIDERS, Settings(secrets=secrets)
        )
    assert "secret\n" not in str(refused.value)

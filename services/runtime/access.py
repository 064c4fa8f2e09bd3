"""Accounts made ready for use: with their secrets, where to call them and where they call back."""

from collections.abc import Mapping
from contextlib import suppress

from services.core.addresses import unclean
from services.core.catalogue import Account, Catalogue
from services.core.errors import Misconfigured
from services.core.identifiers import AccountName
from services.core.ports import Access, Provider
from services.runtime.settings import Settings

__all__ = ["build_accesses"]


def build_accesses(
    catalogue: Catalogue, providers: Mapping[str, Provider], settings: Settings
) -> dict[AccountName, Access]:
    """Every account of the catalogue; raises ``Misconfigured`` naming all that is missing."""
    accesses: dict[AccountName, Access] = {}
    faults: list[str] = []
    for name, account in catalogue.accounts.items():
        try:
            accesses[name] = _access(account, providers, settings)
        except Misconfigured as error:
            faults.append(str(error))
    if faults:
        raise Misconfigured("\n".join(faults))
    return accesses


def _access(account: Account, providers: Mapping[str, Provider], settings: Settings) -> Access:
    provider = providers.get(account.provider)
    if provider is None:
        known = ", ".join(sorted(providers)) or "none"
        raise Misconfigured(
            f"account {account.name!r}: there is no provider {account.provider!r}; known: {known}"
        )
    base_url = settings.base_urls.get(provider.name, provider.default_base_url)
    missing = [n for n in provider.capabilities.settings if not account.settings.get(n)]
    if missing:
        raise Misconfigured(
            f"accounts.{account.name}.settings: {provider.name} needs {', '.join(missing)}"
        )
    return Access(
        account=account,
        base_url=base_url.rstrip("/"),
        secrets=_secrets(account, provider, settings),
        callback_url=f"{settings.public_url.rstrip('/')}/webhooks/{account.name}",
    )


def _secrets(account: Account, provider: Provider, settings: Settings) -> dict[str, str]:
    secrets = settings.secrets_of(account.name, provider.capabilities.secrets)
    empty = sorted(name for name, value in secrets.items() if not value)
    if empty:
        raise Misconfigured(f"account {account.name!r}: its {', '.join(empty)} must not be empty")
    for name in provider.capabilities.optional_secrets:
        with suppress(Misconfigured):
            secrets |= settings.secrets_of(account.name, (name,))
    broken = sorted(name for name, value in secrets.items() if unclean(value))
    if broken:
        # in a header it would be another header, and no request could be sent
        raise Misconfigured(
            f"account {account.name!r}: its {', '.join(broken)} must not hold control characters,"
            " such as a line break at the end"
        )
    return secrets

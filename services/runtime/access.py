"""Accounts as they are used: with secrets, where each is called, and where it calls back."""

from collections.abc import Mapping

from services.core.catalogue import Account, Catalogue
from services.core.errors import Misconfigured
from services.core.identifiers import AccountName
from services.core.ports import Access, Provider
from services.runtime.settings import Settings

__all__ = ["build_accesses"]


def build_accesses(
    catalogue: Catalogue, providers: Mapping[str, Provider], settings: Settings
) -> dict[AccountName, Access]:
    """By account; raises ``Misconfigured`` naming the provider or the secret that is missing."""
    return {
        name: _access(account, providers, settings) for name, account in catalogue.accounts.items()
    }


def _access(account: Account, providers: Mapping[str, Provider], settings: Settings) -> Access:
    provider = providers.get(account.provider)
    if provider is None:
        known = ", ".join(sorted(providers))
        raise Misconfigured(
            f"accounts.{account.name}.provider: no {account.provider!r} here; there are {known}"
        )
    return Access(
        account=account,
        base_url=settings.base_urls.get(account.provider, provider.default_base_url).rstrip("/"),
        secrets=settings.secrets_of(account.name, provider.capabilities.secrets),
        callback_url=f"{settings.public_url.rstrip('/')}/webhooks/{account.name}",
    )

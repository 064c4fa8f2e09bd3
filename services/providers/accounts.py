"""What an account must have before it can be used: a gap is named, with where to fill it."""

from collections.abc import Mapping

from services.core.catalogue import Account
from services.core.errors import Misconfigured
from services.core.ports import Access, Capabilities

__all__ = ["check_account", "secret", "setting"]


def secret(access: Access, name: str) -> str:
    """The account's secret; raises ``Misconfigured`` where it is missing or empty."""
    value = access.secrets.get(name, "")
    if not value:
        raise Misconfigured(f"account {access.account.name}: the secret {name!r} is missing")
    return value


def setting(access: Access, name: str) -> str:
    """The account's setting; raises ``Misconfigured`` where it is missing or empty."""
    value = access.account.settings.get(name, "")
    if not value:
        raise Misconfigured(
            f"account {access.account.name}: the setting {name!r} is missing; "
            f"add it under accounts.{access.account.name}.settings"
        )
    return value


def check_account(capabilities: Capabilities, account: Account, secrets: Mapping[str, str]) -> None:
    """For start-up: raises ``Misconfigured`` naming all that is missing, and what is not known."""
    faults = [
        f"the secret {name!r} is missing" for name in capabilities.secrets if not secrets.get(name)
    ]
    faults += [
        f"the setting {name!r} is missing"
        for name in capabilities.settings
        if not account.settings.get(name)
    ]
    known = {*capabilities.settings, *capabilities.optional_settings}
    faults += [
        f"the setting {name!r} is not known to {account.provider}"
        for name in sorted(set(account.settings) - known)
    ]
    if faults:
        raise Misconfigured(f"account {account.name}: {'; '.join(faults)}")

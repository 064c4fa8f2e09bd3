"""What an account must have before it can be used: a gap is named, with where to fill it."""

from services.core.errors import Misconfigured
from services.core.ports import Access

__all__ = ["secret", "setting"]


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

"""The credentials that the sandbox knows: any account's, for they say whose they are.

The engine and the sandbox both derive them from an account's name, so there is nothing to set up.
They protect nothing.
"""

import re

from services.core.identifiers import AccountName
from services.providers import PROVIDERS

__all__ = ["account_of", "sandbox_secrets"]

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def sandbox_secrets(provider: str, account: str) -> dict[str, str]:
    """All secrets that the provider's accounts need, for this one."""
    return {name: _value(account, name) for name in PROVIDERS[provider].capabilities.secrets}


def account_of(secret: str, name: str) -> AccountName | None:
    """Whose it is, if it is the sandbox secret called ``name``."""
    account = secret.removeprefix("sandbox-").removesuffix("-" + name.replace("_", "-"))
    known = _NAME.fullmatch(account) is not None and secret == _value(account, name)
    return AccountName(account) if known else None


def _value(account: str, name: str) -> str:
    return f"sandbox-{account}-{name.replace('_', '-')}"

"""Who may call: API keys, each of one tenant; or nobody but this machine."""

import ipaddress
from collections.abc import Mapping
from hashlib import sha256

from services.core.errors import Misconfigured
from services.ingest.problems import Problem, problem

__all__ = ["Keys"]

_SCHEME = "bearer"


class Keys:
    """The API keys, kept as digests: a look-up tells nothing of how much of a key was right."""

    def __init__(self, tenants: Mapping[str, str], host: str) -> None:
        """``host``: the address that ingest binds; without keys it must be a loopback one."""
        if not tenants and not _is_loopback(host):
            raise Misconfigured(
                f"ingest would listen on {host} for anybody: set LASTWORD_API_KEYS to"
                " key=tenant pairs, or bind it to 127.0.0.1 (LASTWORD_INGEST_BIND)"
            )
        self._tenants = {_digest(key): tenant for key, tenant in tenants.items()}

    def tenant(self, authorization: str | None) -> str | Problem | None:
        """The caller's tenant; None where no keys are configured; a problem without a good key."""
        if not self._tenants:
            return None
        scheme, _, key = (authorization or "").partition(" ")
        tenant = self._tenants.get(_digest(key.strip()))
        if scheme.lower() != _SCHEME or tenant is None:
            return problem(401, "Send a key that is in use: Authorization: Bearer <key>")
        return tenant


def _digest(key: str) -> bytes:
    return sha256(key.encode(errors="surrogateescape")).digest()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""Who may ask: API keys, each of one tenant; or nobody but this machine. Webhooks need none."""

import ipaddress
from collections.abc import Mapping
from hashlib import sha256

from services.core.errors import Misconfigured
from services.tracker.problems import Problem

__all__ = ["Keys"]


class Keys:
    """The API keys, kept as digests: a look-up tells nothing of how much of a key was right."""

    def __init__(self, tenants: Mapping[str, str], host: str) -> None:
        """``host``: the address that the tracker binds; without keys it must be a loopback one."""
        if not tenants and not _is_loopback(host):
            raise Misconfigured(
                f"the tracker would answer anybody on {host}: set LASTWORD_API_KEYS to key=tenant"
                " pairs, or bind it to 127.0.0.1 (LASTWORD_TRACKER_BIND)"
            )
        self._tenants = {_digest(key): tenant for key, tenant in tenants.items()}

    def tenant(self, authorization: str | None) -> str | None:
        """The only tenant that the caller may see; None: all of them. Raises ``Problem``."""
        if not self._tenants:
            return None
        scheme, _, key = (authorization or "").partition(" ")
        tenant = self._tenants.get(_digest(key.strip()))
        if scheme.lower() != "bearer" or tenant is None:
            raise Problem(401, "Send a key that is in use: Authorization: Bearer <key>")
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

"""Which system account a server runs under: ours, or an unprivileged one where we are root.

PostgreSQL refuses to run as root. Then it runs as the owner that its folder already has, else as
``postgres`` or ``nobody``, and keeps the one privilege to pass through folders that are closed to
others, so that no permission of the user's own folders is touched.
"""

import os
import pwd
from pathlib import Path

from services.core.errors import Misconfigured

__all__ = ["account_for", "hand_over"]

_CANDIDATES = ("postgres", "nobody")


def account_for(folder: Path) -> pwd.struct_passwd | None:
    """The account to change to for a server with its data in ``folder``, or None to stay."""
    if os.geteuid() != 0:
        return None
    owner = folder.stat().st_uid if folder.exists() else 0
    for lookup in (owner, *_CANDIDATES):
        try:
            entry = pwd.getpwnam(lookup) if isinstance(lookup, str) else pwd.getpwuid(lookup)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return entry
    raise Misconfigured(
        "PostgreSQL does not run as root, and there is no account named postgres or nobody to run "
        "it under: start as another user, or use an existing server by --postgres"
    )


def hand_over(folder: Path, account: pwd.struct_passwd | None) -> None:
    """Make the folder and all in it the account's own."""
    if account is None or folder.stat().st_uid == account.pw_uid:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)

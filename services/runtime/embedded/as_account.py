"""Change from root to an account, then become a command: ``as_account.py UID GID SIGNAL COMMAND…``.

A script of the standard library alone. The account keeps the one privilege to pass through folders
that are closed to others. SIGNAL is what the kernel sends when our parent dies; changing the
account had cleared that. Linux only.
"""

import ctypes
import os
import struct
import sys

_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
#: else access(2), by which PostgreSQL looks for its own programs, forgets what was kept
_PR_SET_SECUREBITS, _NO_SETUID_FIXUP = 28, 1 << 2
_CAPABILITY_VERSION_3 = 0x20080522
#: the narrower one first: containers often grant only the second
_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE = 2, 1


def main(uid: int, gid: int, orphan_signal: int, command: list[str]) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if not any(_keep(libc, capability) for capability in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE)):
        _keep_none(libc)
    libc.prctl(_PR_SET_PDEATHSIG, orphan_signal, 0, 0, 0)
    os.execv(command[0], command)


def _keep(libc: ctypes.CDLL, capability: int) -> bool:
    """Give up every capability but this one, which survives the exec; false if we lack it."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    bits = 1 << capability
    if libc.capset(header, struct.pack("=6I", bits, bits, bits, 0, 0, 0)) != 0:
        return False
    return bool(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0)


def _keep_none(libc: ctypes.CDLL) -> None:
    libc.capset(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), struct.pack("=6I", *[0] * 6))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])

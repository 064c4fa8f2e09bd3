"""How the tracker's connections notice that the server is gone without having said so."""

from typing import TypedDict

__all__ = ["LIVENESS", "Liveness"]


class Liveness(TypedDict):
    """Options of libpq; they mean nothing on a Unix socket."""

    #: seconds
    connect_timeout: int
    keepalives_idle: int
    keepalives_interval: int
    keepalives_count: int
    #: milliseconds that what was sent may stay unacknowledged
    tcp_user_timeout: int


LIVENESS = Liveness(
    connect_timeout=5,
    keepalives_idle=5,
    keepalives_interval=5,
    keepalives_count=3,
    tcp_user_timeout=20_000,
)

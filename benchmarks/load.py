"""Calls to a server, many at once, over connections that stay open; no more than it takes."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

import uvloop

__all__ = ["call_all"]


def call_all(url: str, headers: Mapping[str, str], bodies: Iterable[bytes], *, at_once: int) -> int:
    """POST each of these; how many there were. Each has to be answered with 2xx."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_all(url, headers, iter(bodies), at_once))


async def _all(url: str, headers: Mapping[str, str], bodies: Iterator[bytes], at_once: int) -> int:
    counts = await asyncio.gather(*(_caller(url, headers, bodies) for _ in range(at_once)))
    return sum(counts)


async def _caller(url: str, headers: Mapping[str, str], bodies: Iterator[bytes]) -> int:
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\n{lines}Content-Length: ".encode()
    count = 0
    for body in bodies:
        writer.write(head + b"%d\r\n\r\n" % len(body) + body)
        await _answer(reader)
        count += 1
    writer.close()
    return count


async def _answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    assert head.split(b" ", 2)[1].startswith(b"2"), head
    _, _, rest = head.partition(b"content-length:")
    await reader.readexactly(int(rest.partition(b"\r\n")[0]))

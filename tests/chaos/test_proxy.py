"""The proxy does what its rules say: else a fault that seems to strike does not."""

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.loop import LoopThread
from tests.chaos.proxy import Proxy, Way
from tests.chaos.waiting import until

pytestmark = pytest.mark.timeout(30)


class Echo:
    """A server that says everything back, and can be away."""

    def __init__(self) -> None:
        self.heard = b""
        #: how connections ended: by an end, or reset
        self.ends: list[str] = []
        self.open()

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65_536):
                    self.heard += data
                    connection.sendall(data)
                self.ends.append("end")
            except OSError:
                self.ends.append("reset")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    loop = LoopThread("proxy")
    made = Proxy(loop, lambda: [("127.0.0.1", echo.port)])
    yield made
    made.close()
    loop.close()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.ports[0]), timeout=5) as connection:
        yield connection


def _says(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text)
    return client.recv(65_536)


def _read_on(client: socket.socket) -> None:
    while client.recv(10):
        pass


def _is_silent(client: socket.socket, seconds: float = 0.2) -> bool:
    client.settimeout(seconds)
    try:
        return not client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(5)


def test_left_alone_it_passes_everything_on_and_counts_it(
    proxy: Proxy, client: socket.socket
) -> None:
    assert _says(client, b"hello") == b"hello"
    assert proxy.seen == {Way.OUT: 5, Way.BACK: 5}
    assert proxy.connections == 1


def test_an_end_goes_through_and_the_other_direction_stays_open(
    echo: Echo, client: socket.socket
) -> None:
    client.sendall(b"all")
    client.shutdown(socket.SHUT_WR)
    assert client.recv(10) == b"all"
    assert client.recv(10) == b""
    until(lambda: echo.ends == ["end"], "the server sees the end")


def test_the_replies_alone_are_lost(echo: Echo, proxy: Proxy, client: socket.socket) -> None:
    proxy.drop(Way.BACK)
    client.sendall(b"hello")
    assert _is_silent(client)
    assert echo.heard == b"hello"
    assert proxy.dropped == {Way.OUT: 0, Way.BACK: 5}


def test_what_is_held_comes_once_it_is_mended(
    echo: Echo, proxy: Proxy, client: socket.socket
) -> None:
    proxy.hold(Way.OUT)
    client.sendall(b"hello")
    assert _is_silent(client)
    assert echo.heard == b""
    proxy.mend()
    assert client.recv(10) == b"hello"


def test_what_is_held_is_dropped_if_its_client_resets_meanwhile(
    echo: Echo, proxy: Proxy, client: socket.socket
) -> None:
    assert _says(client, b"one") == b"one"
    proxy.hold(Way.OUT)
    client.sendall(b"two")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    proxy.mend()
    until(lambda: not proxy.open_links, "the link is gone")
    until(lambda: echo.ends, "the server sees the end")
    assert echo.heard == b"one"


def test_more_than_the_buffers_hold_is_stuck_while_it_is_held(
    proxy: Proxy, client: socket.socket
) -> None:
    assert _says(client, b"one") == b"one"
    proxy.hold(Way.OUT)
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.sendall(b"x" * 50_000_000)


def test_it_drips_byte_by_byte(proxy: Proxy, client: socket.socket) -> None:
    proxy.drip(0.05, Way.BACK)
    client.sendall(b"abcd")
    started = time.monotonic()
    got: list[bytes] = []
    while len(got) < 4:
        got.append(client.recv(10))
    assert got == [b"a", b"b", b"c", b"d"]
    assert time.monotonic() - started >= 0.14


def test_each_piece_comes_later_and_in_order(proxy: Proxy, client: socket.socket) -> None:
    proxy.delay(0.15)
    started = time.monotonic()
    client.sendall(b"ab")
    client.sendall(b"cd")
    got = b""
    while len(got) < 4:
        got += client.recv(10)
    assert got == b"abcd"
    assert time.monotonic() - started >= 0.3


def test_after_so_many_bytes_it_is_reset(echo: Echo, proxy: Proxy, client: socket.socket) -> None:
    assert _says(client, b"before") == b"before"
    proxy.reset_after(3, Way.BACK)
    client.sendall(b"hello")
    with pytest.raises(ConnectionResetError):
        _read_on(client)
    assert proxy.resets == 1
    assert echo.heard == b"beforehello"


def test_a_cut_resets_what_is_open_and_refuses_what_comes(
    proxy: Proxy, client: socket.socket
) -> None:
    assert _says(client, b"one") == b"one"
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.ports[0]), timeout=5)
    proxy.mend()
    with socket.create_connection(("127.0.0.1", proxy.ports[0]), timeout=5) as again:
        assert _says(again, b"two") == b"two"


def test_half_of_a_connection_is_closed(echo: Echo, proxy: Proxy, client: socket.socket) -> None:
    assert _says(client, b"one") == b"one"
    proxy.half_close(Way.OUT)
    until(lambda: echo.ends == ["end"], "the server sees the end")
    assert client.recv(10) == b""
    client.sendall(b"into the void")
    assert echo.heard == b"one"


def test_it_refuses_while_nobody_is_behind_it(echo: Echo, proxy: Proxy) -> None:
    address = ("127.0.0.1", proxy.ports[0])
    echo.close()
    until(proxy.refuses, "the door is shut")
    echo.open()

    def answers() -> bool:
        try:
            with socket.create_connection(address, timeout=5) as client:
                return _says(client, b"hello") == b"hello"
        except OSError:
            return False

    until(answers, "the door is open again")

"""Listening: connections spread over workers, go past those that don't take them, and none is lost."""

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from app.server import listening
from app.server.listening import Address, Listener, Loop, serve_together
from app.server.protocol import OPTIONS, Protocol
from tests.server.wires import echo, request, soon, until

pytestmark = pytest.mark.anyio

BACKLOG = 2048


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


class Worker:
    """One of several, all of them in this process."""

    def __init__(self, address: Address) -> None:
        self.state = ServerState()
        config = Config(echo, lifespan="off", **OPTIONS)
        self.listener = Listener(address, lambda: Protocol(config, self.state, {}), BACKLOG)

    @property
    def count(self) -> int:
        return len(self.state.connections)

    async def stop(self) -> None:
        """As uvicorn does."""
        self.listener.close()
        for protocol in list(self.state.connections):
            protocol.shutdown()
        await self.listener.wait_closed()


def handed(address: Address, kind: type[socket.socket] = socket.socket) -> Address:
    """As a process gets it."""
    make, (bound, *others) = address.__reduce__()
    return make(kind(fileno=bound.dup().detach()), *others)


@pytest.fixture
def address() -> Iterator[Address]:
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as bound:
        yield Address(bound)


class Clients:
    """Those who connect to the workers, until the block ends."""

    def __init__(self, address: Address, workers: list[Worker]) -> None:
        self._address = address
        self.workers = workers
        self.streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def come(self, count: int = 1) -> None:
        """All at once; returns when they are connected, but not when they are accepted."""
        place = self._address.socket.getsockname()
        self.streams += await asyncio.gather(*(asyncio.open_connection(*place) for _ in range(count)))

    async def accepted(self) -> None:
        await until(lambda: sum(self.counts) == len(self.streams))

    async def leave(self) -> None:
        for _, writer in self.streams:
            writer.close()
        self.streams.clear()
        await self.accepted()

    @property
    def counts(self) -> list[int]:
        """Of each worker."""
        return [worker.count for worker in self.workers]


@asynccontextmanager
async def working(*addresses: Address) -> AsyncIterator[Clients]:
    """A worker for each."""
    workers = [Worker(each) for each in addresses]
    clients = Clients(addresses[0], workers)
    yield clients
    await clients.leave()
    for worker, each in zip(workers, addresses, strict=True):
        await worker.stop()
        each.close()


async def test_connections_that_come_one_by_one_spread(address: Address) -> None:
    async with working(*(handed(address) for _ in range(3))) as clients:
        for _ in range(30):
            await clients.come()
            await clients.accepted()
        assert min(clients.counts) >= 7
        for reader, writer in clients.streams:
            writer.write(request(body=b"Hello"))
            assert await soon(reader.readuntil(b"Hello"))


async def test_connections_that_come_at_once_are_all_accepted(address: Address) -> None:
    async with working(handed(address), handed(address)) as clients:
        await clients.come(100)
        await clients.accepted()
        assert min(clients.counts) >= 25


async def test_connections_that_have_ended_do_not_count(address: Address) -> None:
    async with working(handed(address), handed(address)) as clients:
        for _ in range(20):
            await clients.come()
            await clients.accepted()
            await clients.leave()
        for _ in range(10):
            await clients.come()
            await clients.accepted()
        assert min(clients.counts) >= 3


async def test_one_that_does_not_accept_stops_nobody(address: Address) -> None:
    """It is stopped, or dead, and the last that it told was that it has no connections."""
    stopped = handed(address)
    stopped.is_ahead(0)
    async with working(handed(address)) as clients:
        await clients.come(20)
        await clients.accepted()
    stopped.close()


async def test_who_is_ahead_of_whom(address: Address) -> None:
    first, second = handed(address), handed(address)
    assert not first.is_ahead(5)
    assert not second.is_ahead(6)
    assert second.is_ahead(7)
    assert not first.is_ahead(7)
    first.is_ahead(3)
    second.go_past(7)
    assert not second.is_ahead(7)
    first.is_ahead(3)
    assert second.is_ahead(7)
    first.close()  # a process that has ended does not count
    assert not second.is_ahead(7)
    second.close()


class Full(socket.socket):
    """Accepts nothing at first."""

    codes: list[int]

    def accept(self) -> Any:
        if self.codes:
            raise OSError(self.codes.pop(0), "there is no room")
        return super().accept()


async def test_without_room_for_a_connection_it_tries_again(
    address: Address, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listening, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(Full, "codes", [errno.EMFILE, errno.ECONNABORTED, errno.ENOMEM], raising=False)
    with caplog.at_level(logging.ERROR, "flarelay"):
        async with working(handed(address, Full)) as clients:
            await clients.come(3)
            await clients.accepted()
    assert [record.getMessage() for record in caplog.records] == ["no connection can be accepted"] * 2


async def test_one_that_is_accepted_at_the_end_is_ended(address: Address) -> None:
    async with working(handed(address)) as clients:
        (worker,) = clients.workers
        with socket.create_connection(address.socket.getsockname()) as client:
            while not worker.listener._welcoming:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0)
            await worker.stop()
            client.setblocking(False)
            assert await soon(asyncio.get_running_loop().sock_recv(client, 1)) == b""


async def test_the_end_may_come_while_others_go_first(address: Address) -> None:
    stopped = handed(address)
    stopped.is_ahead(0)
    async with working(handed(address)) as clients:
        await clients.come()
        await clients.accepted()
        await clients.come()
        (worker,) = clients.workers
        await until(lambda: worker.listener._timer)
        await worker.stop()
        await asyncio.sleep(listening.PATIENCE_SECONDS * 2)
        assert worker.count <= 1
    stopped.close()


def test_its_loop_serves_an_address_and_all_else(address: Address) -> None:
    async def serve(sock: Any) -> bytes:
        loop, state = asyncio.get_running_loop(), ServerState()
        config = Config(echo, lifespan="off", **OPTIONS)
        server = await loop.create_server(lambda: Protocol(config, state, {}), sock=sock, backlog=BACKLOG)
        reader, writer = await asyncio.open_connection(*address.socket.getsockname())
        writer.write(request(b"connection: close", body=b"Hello"))
        got = await soon(reader.read())
        writer.close()
        server.close()
        return got

    for sock in (handed(address), address.socket.dup()):
        loop = Loop()
        assert loop.run_until_complete(serve(sock)).endswith(b"Hello")
        loop.close()
        sock.close()


def test_uvicorn_starts_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    started = list[tuple[Config, Any]]()

    class Supervisor:
        def __init__(self, config: Config, sockets: list[Any]) -> None:
            started.append((config, sockets[0]))

        def run(self) -> None:
            """In workers."""

    monkeypatch.setattr(listening, "Multiprocess", Supervisor)
    serve_together("app.main:from_environment", 3, OPTIONS | {"host": "127.0.0.1", "port": 0})
    ((config, address),) = started
    assert (config.app, config.workers) == ("app.main:from_environment", 3)
    assert config.get_loop_factory() is Loop
    assert address.socket.getsockname()[1] > 0
    address.close()

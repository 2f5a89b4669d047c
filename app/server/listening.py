"""Several workers at one address: a connection goes to the one that has the fewest.

Left to themselves, whoever is woken first accepts, and that is nearly always the same one: of forty connections that
a pool opens one by one, two workers get four and thirty-six. So one that has more than another lets that one go first,
but only for a moment: it may be dead, or stopped, or busy.
"""

import asyncio
import logging
import select
import socket
from collections.abc import Callable, Mapping
from itertools import count
from multiprocessing.sharedctypes import RawArray
from typing import TYPE_CHECKING, Any, cast

import uvloop
from uvicorn.config import Config
from uvicorn.supervisors import Multiprocess

from app.server.protocol import Protocol

if TYPE_CHECKING:
    from ctypes import Array, c_long

logger = logging.getLogger("flarelay")

MOST_WORKERS = 64
NOBODY = 2**31 - 1
"""Stands for the connections of a worker that there isn't."""
PATIENCE_SECONDS = 0.005
RETRY_SECONDS = 1.0
"""After the system had no room for a connection."""


class Address:
    """What the workers have in common: the socket, and how many connections each of them has. For uvicorn's `sockets`;
    wherever a process gets it, it gets a number for that process with it.
    """

    def __init__(self, bound: socket.socket, counts: "Array[c_long] | None" = None, number: int = 0) -> None:
        self.socket = bound
        self._counts = counts or RawArray("l", [NOBODY] * MOST_WORKERS)
        self._number = number
        self._numbers = count()

    def __reduce__(self) -> tuple[type["Address"], tuple[Any, ...]]:
        return Address, (self.socket, self._counts, next(self._numbers) % MOST_WORKERS)

    def is_ahead(self, own: int) -> bool:
        """Tells the others how many this process has. Whether one of them has clearly fewer."""
        self._counts[self._number] = own
        return own > _level(min(self._counts))

    def go_past(self, own: int) -> None:
        """What others have who have fewer, until they tell it again."""
        for number, other in enumerate(self._counts):
            if own > _level(other):
                self._counts[number] = NOBODY

    def close(self) -> None:
        self._counts[self._number] = NOBODY
        self.socket.close()


def _level(count: int) -> int:
    """How many one may have beside one that has so many."""
    return count + count // 4


class Loop(uvloop.Loop):
    """For uvicorn's `loop`: it serves an address, too."""

    async def create_server(self, protocol_factory: Any, *args: Any, sock: Any = None, **options: Any) -> Any:
        if isinstance(sock, Address):
            return Listener(sock, protocol_factory, options["backlog"])
        return await super().create_server(protocol_factory, *args, sock=sock, **options)


def serve_together(app: str, workers: int, options: Mapping[str, Any]) -> None:
    """Until the process is told to end. `options` are uvicorn's."""
    config = Config(app, workers=workers, loop="app.server.listening:Loop", **options)
    Multiprocess(config, [cast("socket.socket", Address(config.bind_socket()))]).run()


class Listener:
    """Accepts connections in one worker, on the running loop."""

    def __init__(self, address: Address, protocol_factory: Callable[[], Protocol], backlog: int) -> None:
        self._address = address
        self._socket = address.socket
        self._protocol_factory = protocol_factory
        self._loop = asyncio.get_running_loop()
        self._welcoming: set[asyncio.Task[None]] = set()
        self._connections: set[Any] = set()
        """As uvicorn keeps them."""
        self._waiting = select.poll()
        self._waiting.register(self._socket, select.POLLIN)
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._socket.setblocking(False)
        self._socket.listen(backlog)
        address.is_ahead(0)
        self._loop.add_reader(self._socket, self._look)

    def close(self) -> None:
        """What was accepted is served."""
        self._is_closed = True
        self._loop.remove_reader(self._socket)
        if self._timer:
            self._timer.cancel()

    async def wait_closed(self) -> None:
        """Until all that was accepted has its protocol."""
        if self._welcoming:
            await asyncio.wait(self._welcoming)

    @property
    def _own(self) -> int:
        """Connections."""
        return len(self._connections) + len(self._welcoming)

    def _look(self) -> None:
        """There is a connection, unless another worker was quicker."""
        if self._address.is_ahead(self._own):
            self._pause(PATIENCE_SECONDS)
        else:
            self._accept()

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._socket)
        self._timer = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        if self._waiting.poll(0):  # those who were to go first did not
            self._address.go_past(self._own)
        self._loop.add_reader(self._socket, self._look)

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as failure:  # there are too many open files, or there is no memory
            logger.error("no connection can be accepted", extra={"fields": {"reason": failure.strerror}})
            self._pause(RETRY_SECONDS)
            return
        task = self._loop.create_task(self._welcome(connection))
        self._welcoming.add(task)
        task.add_done_callback(self._welcoming.discard)

    async def _welcome(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        _, protocol = await self._loop.connect_accepted_socket(self._protocol_factory, connection)
        self._connections = protocol.connections
        if self._is_closed:  # meanwhile: uvicorn has told all that it knew of
            protocol.shutdown()

"""dial: a TCP connection to a host that may have several addresses, some of them out of reach.

It does what asyncio's `happy_eyeballs_delay` does, which uvloop has not, and which loses a socket that is connected at
the moment of a cancellation.
"""

import asyncio
import math
import socket
from collections.abc import Callable, Coroutine, Sequence
from itertools import chain, zip_longest
from typing import Any

HEAD_START_SECONDS = 0.25
"""How long an address has before the next is tried beside it. RFC 8305, section 8."""

KEEP_SECONDS = 10.0
"""How long the addresses of a host are used again: servers move without telling us, and getaddrinfo knows no TTL."""

Address = tuple[int, int, int, str, Any]
"""As getaddrinfo has it: family, kind, protocol, name, and where."""

Place = tuple[str, int]
"""Host and port."""

LookUp = Callable[[str, int], Coroutine[Any, Any, Sequence[Address]]]
"""Asks for the addresses of a host, whose port is to be in them."""


class Answer:
    """The addresses of one host, perhaps still to come."""

    def __init__(self, looking_up: Coroutine[Any, Any, Sequence[Address]], keep_seconds: float) -> None:
        self.addresses = asyncio.ensure_future(looking_up)
        self.end = math.inf
        """On the event loop's clock: when to ask anew."""
        self._keep_seconds = keep_seconds
        self.addresses.add_done_callback(self._finish)

    def _finish(self, addresses: asyncio.Future[Sequence[Address]]) -> None:
        is_known = not addresses.cancelled() and addresses.exception() is None
        self.end = addresses.get_loop().time() + self._keep_seconds if is_known else -math.inf


class Names:
    """The addresses of hosts, kept for a while. All who ask for a host meanwhile wait for the same answer.

    DNS would block the event loop, and the threads for it are few. Failures are not kept.
    """

    def __init__(self, *, look_up: LookUp | None = None, keep_seconds: float = KEEP_SECONDS) -> None:
        self._look_up = look_up or _look_up
        self._keep_seconds = keep_seconds
        self._answers: dict[Place, Answer] = {}

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """At least one. Raises OSError, or UnicodeError for a name that DNS can't hold."""
        try:  # an address needs neither DNS nor a thread
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            answer = self._answers.get((host, port))
        if answer is None or answer.end <= asyncio.get_running_loop().time():
            answer = self._answers[host, port] = Answer(self._look_up(host, port), self._keep_seconds)
        return await asyncio.shield(answer.addresses)  # whoever is cancelled leaves the others their answer

    def forget(self, host: str, port: int) -> None:
        """Ask anew next time."""
        self._answers.pop((host, port), None)


async def dial(names: Names, host: str, port: int) -> socket.socket:
    """Raises the OSError of the first address to fail, or UnicodeError for a name that DNS can't hold."""
    try:
        return await dial_any(await names.addresses(host, port))
    except OSError:
        names.forget(host, port)
        raise


async def dial_any(addresses: Sequence[Address]) -> socket.socket:
    """A connection to the first address that answers, each later one having a later start."""
    if len(addresses) == 1:
        return await _connect(addresses[0])
    attempts: list[asyncio.Task[socket.socket]] = []
    try:
        return await _race(addresses, attempts)
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(_discard)


async def _race(addresses: Sequence[Address], attempts: list[asyncio.Task[socket.socket]]) -> socket.socket:
    """Start the attempts one after the other; take the winner out of them."""
    failures: list[BaseException] = []
    left = iter(_interleaved(addresses))
    while True:
        address = next(left, None)
        if address is not None:
            attempts.append(asyncio.ensure_future(_connect(address)))
        if not attempts:
            raise failures[0]
        patience = None if address is None else HEAD_START_SECONDS
        done, _ = await asyncio.wait(attempts, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        for attempt in done:
            failure = attempt.exception()
            attempts.remove(attempt)
            if failure is None:
                return attempt.result()
            failures.append(failure)


async def _connect(address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    connection = socket.socket(family, kind, protocol)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connection, where)
    except BaseException:
        connection.close()
        raise
    return connection


def _discard(attempt: asyncio.Task[socket.socket]) -> None:
    if not attempt.cancelled() and not attempt.exception():
        attempt.result().close()


async def _look_up(host: str, port: int) -> Sequence[Address]:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _interleaved(addresses: Sequence[Address]) -> Sequence[Address]:
    """IPv6 and IPv4 in turn, beginning with the system's first choice. RFC 8305, section 4."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for address in chain.from_iterable(zip_longest(first, others)) if address is not None]

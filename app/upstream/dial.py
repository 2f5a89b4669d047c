"""dial: a TCP connection to a host that may have several addresses, some of them out of reach.

It does what asyncio's `happy_eyeballs_delay` does, which uvloop has not, and which loses a socket that is connected at
the moment of a cancellation.
"""

import asyncio
import socket
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

HEAD_START_SECONDS = 0.25
"""How long an address has before the next is tried beside it. RFC 8305, section 8."""

Address = tuple[int, int, int, str, Any]
"""As getaddrinfo has it: family, kind, protocol, name, and where."""


async def dial(host: str, port: int) -> socket.socket:
    """Raises the OSError of the first address to fail, or UnicodeError for a name that DNS can't hold."""
    return await dial_any(await _resolve(host, port))


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


async def _resolve(host: str, port: int) -> Sequence[Address]:
    try:  # an address needs neither DNS nor a thread
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _interleaved(addresses: Sequence[Address]) -> Sequence[Address]:
    """IPv6 and IPv4 in turn, beginning with the system's first choice. RFC 8305, section 4."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for address in chain.from_iterable(zip_longest(first, others)) if address is not None]

"""Writes: what many streams have to send goes out together, in the next turn of the event loop.

Whoever receives it is then awake for all of it, and the loop calls once where it would call for each.
"""

import asyncio
import logging
from collections.abc import Callable

logger = logging.getLogger("flarelay")


class Writes:
    """Of all connections of a server."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Callable[[], None]] = []

    def add(self, write: Callable[[], None]) -> None:
        """Call it in the next turn."""
        if not self._waiting:
            self._loop.call_soon(self._turn)
        self._waiting.append(write)

    def _turn(self) -> None:
        waiting, self._waiting = self._waiting, []
        for write in waiting:
            try:
                write()
            except Exception:
                logger.exception("a write has failed")  # the others are to go out all the same

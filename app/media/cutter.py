"""Cutter: a recording in pieces, made in a thread, each when it is asked for."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import IO, TypeVar

from anyio import CancelScope, CapacityLimiter

from app.calls import Sound
from app.catalog.sounds import ListeningFacts
from app.errors import BadRequestError
from app.media.recordings import UnreadableError, pieces

T = TypeVar("T")


class Cutter:
    """Cuts a few recordings at a time: decoding takes a core."""

    def __init__(self, *, at_once: int = 2) -> None:
        self._limiter = CapacityLimiter(at_once)

    async def cut(self, file: IO[bytes], size: int, facts: ListeningFacts) -> AsyncGenerator[Sound]:
        """As `facts` say what the model takes. Raises BadRequestError for what is no recording, or a damaged one.

        Whoever is cancelled while a piece is made waits until it is, so that the file can be closed then.
        """
        found = pieces(file, size, max_seconds=facts.max_seconds, max_bytes=facts.max_bytes, takes=facts.takes)
        try:
            while piece := await self._in_thread(partial(next, found, None)):
                yield piece
        except UnreadableError as failure:
            raise BadRequestError(f"The file can't be used: {failure}", param="file", code="invalid_audio") from failure
        finally:
            found.close()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Nothing can stop a thread, and asyncio's cancellation, unlike AnyIO's, does not stop at a shield."""
        cancellation: asyncio.CancelledError | None = None
        async with self._limiter:
            thread = asyncio.get_running_loop().run_in_executor(None, work)
            with CancelScope(shield=True):
                while not thread.done():
                    try:
                        await asyncio.wait([thread])
                    except asyncio.CancelledError as reason:
                        cancellation = reason
        if cancellation:
            thread.exception()  # or asyncio would tell that nobody looked at it
            raise cancellation
        return thread.result()

"""What comes back from Cloudflare, as it comes: events in batches, or an answer in its own form."""

from collections.abc import AsyncGenerator, Callable, Sequence

import httpx2
import orjson

from app.calls import NOWHERE, Failure, FailureKind, Origin
from app.upstream.charges import neurons_of
from app.upstream.events import EndlessEvent, EventDecoder
from app.upstream.failures import classify_event, from_exception
from app.upstream.gateway import is_hit
from app.upstream.transport import ResponseStream
from app.upstream.wire import Response


def _nothing() -> None:
    return


class Raw:
    """An answer as it came: JSON whole, in `body`; events and binaries piece by piece, by iteration."""

    def __init__(self, response: Response, origin: Origin = NOWHERE, release: Callable[[], None] = _nothing) -> None:
        """`release` is called when the answer is over, at least once."""
        self._response = response
        self._release = release
        self.origin = origin
        self.content_type = response.header(b"content-type")
        self.is_free = is_hit(origin.headers)
        """AI Gateway had the answer. What it tells of its cost was somebody else's."""
        self.neurons = 0.0 if self.is_free else neurons_of(response)
        self.body: bytes | None = None

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        """Raises Failure."""
        try:
            async for piece in self._response.stream:
                yield piece
        except httpx2.TransportError as failure:
            raise from_exception(failure) from failure
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        self._release()
        await self._response.aclose()


class Events:
    """The events of one answer, in the batches that they arrive in. Raises Failure, also for one told in an event."""

    def __init__(self, response: Response, origin: Origin = NOWHERE, release: Callable[[], None] = _nothing) -> None:
        """`release` is called when the answer is over, at least once."""
        self._response = response
        self._release = release
        self.origin = origin
        self._pieces = aiter(response.stream)
        self._decoder = EventDecoder()
        self._failure: Failure | None = None
        self._is_over = False
        self.first: list[bytes] = []
        """The first batch, which the iteration does not bring once more."""

    async def start(self) -> None:
        """Wait for the first batch, so that a failure in place of it can still be told by a status."""
        self.first = await self.next()
        if not self.first:
            raise Failure(FailureKind.BROKEN, "Cloudflare sent an empty stream.", status=502, is_retryable=True)

    async def next(self) -> list[bytes]:
        """The events that arrive together next; none at the end."""
        while not self._is_over:
            try:
                events = self._decoder.feed(await self._pieces.__anext__())
            except StopAsyncIteration:
                await self.aclose()
                events = self._decoder.close()
            except httpx2.TransportError as failure:
                self._is_over = True
                raise from_exception(failure) from failure
            except EndlessEvent as failure:  # a ValueError may be the translator's, which reads for the tap
                self._is_over = True
                raise Failure(FailureKind.BROKEN, "Cloudflare sent an event without an end.", status=502) from failure
            if _may_tell_of_failure(events):
                events = self._up_to_failure(events)
            if events:
                return events
        if self._failure:
            raise self._told()
        return []

    def pass_on(
        self, is_plain: Callable[[], bool], is_ready: Callable[[], bool], give: Callable[[list[bytes]], None]
    ) -> None:
        """From now on, events that come while `next` waits are given away at once, when that is both.

        To wake who waits would cost more than to translate and send an event. What any of them raises, `next` raises.
        """

        def tap(take: Callable[[], bytes]) -> bool:
            if not (is_plain() and is_ready()):
                return False
            events = self._decoder.feed(take())
            if _may_tell_of_failure(events):
                events = self._up_to_failure(events)
            if events:
                give(events)
            if self._failure:
                raise self._told()
            return True

        if isinstance(self._response.stream, ResponseStream):
            self._response.stream.tap(tap)

    @property
    def is_closed(self) -> bool:
        return self._response.is_closed

    async def aclose(self) -> None:
        """End the answer at once, wherever it is: tokens that nobody reads are billed all the same."""
        self._is_over, self._failure = True, None
        self._release()
        await self._response.aclose()

    def _told(self) -> Failure:
        """The failure that the events told of, for once."""
        assert self._failure  # noqa: S101 - it is asked for only then
        told, self._failure = self._failure, None
        told.account = self.origin.account
        return told

    def _up_to_failure(self, events: list[bytes]) -> list[bytes]:
        """The events before one that tells of a failure, which is kept to be raised after them."""
        for i, event in enumerate(events):
            if failure := failure_in(event):
                self._is_over, self._failure = True, failure
                return events[:i]
        return events


def _may_tell_of_failure(events: Sequence[bytes]) -> bool:
    text = events[0] if len(events) == 1 else b"\n".join(events)
    return b'"error' in text or b'"success"' in text or b'"Failed"' in text


def failure_in(event: bytes) -> Failure | None:
    if not _may_tell_of_failure((event,)):
        return None
    try:
        return classify_event(orjson.loads(event))
    except orjson.JSONDecodeError:  # whoever reads it will find out, after the events before it
        return None

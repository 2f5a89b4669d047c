"""Several calls at once: all or none, each in its own order, and nothing left running."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import aclosing
from typing import Any

import httpx2
import pytest

from app.calls import Failure, FailureKind, Reply
from app.upstream.batches import MOST_AT_ONCE, Batch, close, in_order, merge, open_together, together
from app.upstream.client import WorkersAI
from app.upstream.incoming import Events
from app.upstream.wire import Response
from tests.upstream.replaying import (
    CALLER,
    DEADLINE_SECONDS,
    RUN,
    STREAM,
    Replaying,
    body_of,
    cancelled,
    failed,
    frames,
    never,
    streamed,
    whole,
)

pytestmark = pytest.mark.anyio

BROKEN = httpx2.RemoteProtocolError("gone")


@pytest.fixture(autouse=True)
async def _no_task_is_left() -> AsyncGenerator[None]:
    yield
    left = [task.get_coro() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert [job for job in left if not str(job).startswith("<coroutine object TestRunner.")] == []


async def events_of(response: httpx2.Response) -> Events:
    _, events = await WorkersAI(Replaying(response)).open(STREAM, CALLER)
    assert isinstance(events, Events)
    return events


async def sources_of(*responses: httpx2.Response) -> dict[int, Events]:
    return {choice: await events_of(response) for choice, response in enumerate(responses)}


def not_done(_: int) -> bool:
    return False


async def read_into(seen: list[Batch], batches: AsyncGenerator[Batch]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS), aclosing(batches):
        async for batch in batches:
            seen += [batch]


async def read(batches: AsyncGenerator[Batch]) -> list[Batch]:
    seen: list[Batch] = []
    await read_into(seen, batches)
    return seen


def is_closed(response: httpx2.Response) -> bool:
    return body_of(response).closed.is_set()


class TestTogether:
    @staticmethod
    async def job(result: int, after: asyncio.Event, then: asyncio.Event) -> int:
        await after.wait()
        then.set()
        return result

    async def test_results_come_in_the_order_of_the_jobs(self) -> None:
        start, middle, end = (asyncio.Event() for _ in range(3))
        start.set()
        assert await together([self.job(1, middle, end), self.job(2, start, middle)]) == [1, 2]

    async def test_a_single_job_runs_in_the_task_of_its_caller(self) -> None:
        async def current() -> asyncio.Task[Any] | None:
            return asyncio.current_task()

        assert await together([current()]) == [asyncio.current_task()]
        assert asyncio.current_task() not in await together([current(), current()])

    async def test_no_job_gives_no_result(self) -> None:
        assert await together(list[Coroutine[Any, Any, int]]()) == []

    async def test_the_first_failure_ends_the_other_jobs_and_keeps_its_cause(self) -> None:
        was_cancelled = False

        async def wait() -> None:
            nonlocal was_cancelled
            try:
                await never(None)
            except asyncio.CancelledError:
                was_cancelled = True
                raise

        async def fail() -> None:
            await asyncio.sleep(0)
            raise Failure(FailureKind.SERVER, "no") from BROKEN

        with pytest.raises(Failure) as caught:
            await together([wait(), fail(), wait()])
        assert caught.value.__cause__ is BROKEN
        assert was_cancelled


class TestOpening:
    async def test_it_gives_each_call_with_its_answer(self) -> None:
        workers = WorkersAI(Replaying(streamed(frames("a")), whole({"response": "b"})))
        opened = await open_together([workers.open(STREAM, CALLER), workers.open(RUN, CALLER)])
        (first, events), (second, reply) = opened
        assert (first, second) == (STREAM, RUN)
        assert isinstance(events, Events)
        assert isinstance(reply, Reply)
        assert (events.first, reply.body) == ([b'"a"'], {"response": "b"})

    async def test_a_failure_closes_what_is_open(self) -> None:
        response = streamed(frames("a"))

        async def fail(_: httpx2.Request) -> httpx2.Response:
            await asyncio.sleep(0)
            return failed(5007, 400)

        workers = WorkersAI(Replaying(response, whole({}), fail))
        with pytest.raises(Failure) as caught:
            await open_together([workers.open(STREAM, CALLER) for _ in range(3)])
        assert caught.value.kind is FailureKind.MODEL_NOT_FOUND
        assert is_closed(response)

    async def test_cancellation_closes_what_is_open_and_what_is_about_to_be(self) -> None:
        ready, silent, is_asked = streamed(frames("a")), streamed(asyncio.Event()), asyncio.Event()

        async def hang(_: httpx2.Request) -> httpx2.Response:
            is_asked.set()
            return await never(None)

        workers = WorkersAI(Replaying(ready, silent, hang))
        await cancelled(open_together([workers.open(STREAM, CALLER) for _ in range(3)]), is_asked)
        assert is_closed(ready)
        assert is_closed(silent)


class Reluctant(httpx2.AsyncByteStream):
    """A body that takes a while to close, or fails to."""

    def __init__(self, outcome: Exception | None = None) -> None:
        self._outcome = outcome
        self.is_closing = asyncio.Event()
        self.go = asyncio.Event()
        self.closed = asyncio.Event()

    async def aclose(self) -> None:
        self.is_closing.set()
        await self.go.wait()
        self.closed.set()
        if self._outcome:
            raise self._outcome


class TestClosing:
    async def test_replies_need_none(self) -> None:
        response = streamed(frames("a"))
        await close([Reply("text")])
        await close([Reply("text"), await events_of(response)])
        assert is_closed(response)

    async def test_one_that_fails_keeps_no_other_open(self) -> None:
        bodies = [Reluctant(), Reluctant(BROKEN), Reluctant()]
        for body in bodies:
            body.go.set()
        with pytest.raises(httpx2.RemoteProtocolError):
            await close([Events(Response(200, [], body)) for body in bodies])
        assert all(body.closed.is_set() for body in bodies)

    async def test_it_goes_on_when_its_caller_is_cancelled(self) -> None:
        body = Reluctant()
        await cancelled(close([Events(Response(200, [], body))]), body.is_closing)
        assert not body.closed.is_set()
        body.go.set()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await body.closed.wait()


class TestMerging:
    async def test_no_source_brings_nothing(self) -> None:
        assert await read(merge({}, not_done)) == []

    async def test_each_source_keeps_its_order(self) -> None:
        sources = await sources_of(*(streamed(*(frames([i, j]) for j in range(10))) for i in range(5)))
        seen = await read(merge(sources, not_done))
        for choice in sources:
            own = [batch for source, batch in seen if source == choice]
            assert own == [*([b"[%d,%d]" % (choice, j)] for j in range(1, 10)), []]

    async def test_batches_come_as_they_arrive(self) -> None:
        gates = [asyncio.Event(), asyncio.Event(), asyncio.Event()]
        sources = await sources_of(
            streamed(frames(0), gates[0], frames("a"), gates[2], frames("d")),
            streamed(frames(0), gates[1], frames("b")),
        )
        seen = []
        async with asyncio.timeout(DEADLINE_SECONDS), aclosing(merge(sources, not_done)) as batches:
            gates[1].set()
            seen += [await anext(batches), await anext(batches)]
            gates[0].set()
            seen.append(await anext(batches))
            gates[2].set()
            seen += [await anext(batches), await anext(batches)]
        assert seen == [(1, [b'"b"']), (1, []), (0, [b'"a"']), (0, [b'"d"']), (0, [])]

    @pytest.mark.parametrize("count", [1, 3])
    async def test_the_failure_of_one_ends_all(self, count: int) -> None:
        broken = streamed(frames(0), frames("a"), BROKEN)
        sources = await sources_of(broken, *(streamed(frames(0), asyncio.Event()) for _ in range(count - 1)))
        seen: list[Batch] = []
        with pytest.raises(Failure) as caught:
            await read_into(seen, merge(sources, not_done))
        assert caught.value.kind is FailureKind.BROKEN
        assert seen == [(0, [b'"a"'])]

    async def test_several_failures_are_one(self) -> None:
        sources = await sources_of(*(streamed(frames(0), BROKEN) for _ in range(3)))
        with pytest.raises(Failure):
            await read(merge(sources, not_done))

    @pytest.mark.parametrize("count", [1, 3])
    async def test_a_fault_of_ours_ends_all_too(self, count: int) -> None:
        faulty = streamed(frames(0), KeyError("ours"))
        sources = await sources_of(*(streamed(frames(0), asyncio.Event()) for _ in range(count - 1)), faulty)
        with pytest.raises(KeyError):
            await read(merge(sources, not_done))

    @pytest.mark.parametrize("count", [1, 3])
    async def test_closing_ends_all(self, count: int) -> None:
        silent = [streamed(frames(0), asyncio.Event()) for _ in range(count - 1)]
        sources = await sources_of(streamed(frames(0), frames(1)), *silent)
        batches, tasks = merge(sources, not_done), asyncio.all_tasks()
        await anext(batches)
        await batches.aclose()
        assert asyncio.all_tasks() == tasks
        with pytest.raises(StopAsyncIteration):
            await anext(batches)

    @pytest.mark.parametrize("count", [1, 3])
    async def test_cancellation_ends_all(self, count: int) -> None:
        responses = [streamed(frames(0), asyncio.Event()) for _ in range(count)]
        batches = merge(await sources_of(*responses), not_done)
        await cancelled(read(batches), body_of(responses[-1]).is_waiting)

    @pytest.mark.parametrize("count", [1, 2])
    async def test_a_source_that_is_done_is_closed_and_not_read_further(self, count: int) -> None:
        done = streamed(frames(0), frames("a"), BROKEN)
        sources = await sources_of(done, *(streamed(frames(0), frames("b"), frames("c")) for _ in range(count - 1)))
        finished: set[int] = set()
        seen = []
        async with aclosing(merge(sources, finished.__contains__)) as batches:
            async for choice, batch in batches:
                seen.append((choice, batch))
                if batch == [b'"a"']:
                    finished.add(choice)
                if (choice, batch) == (0, []):
                    assert is_closed(done)
        assert [batch for choice, batch in seen if choice == 0] == [[b'"a"'], []]
        assert [batch for choice, batch in seen if choice == 1] == [[b'"b"'], [b'"c"'], []][: 3 * (count - 1)]

    async def test_a_source_that_was_done_from_the_start_is_not_read(self) -> None:
        response = streamed(frames(0), asyncio.Event())
        assert await read(merge(await sources_of(response), lambda _: True)) == [(0, [])]
        assert is_closed(response)

    async def test_nothing_is_read_ahead(self) -> None:
        responses = [streamed(frames(0), frames(1), asyncio.Event()) for _ in range(2)]
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            aclosing(merge(await sources_of(*responses), not_done)) as batches,
        ):
            choice, _ = await anext(batches)
            for _ in range(10):
                await asyncio.sleep(0)
            assert not body_of(responses[choice]).is_waiting.is_set()


async def test_jobs_that_never_got_a_place_are_closed() -> None:
    """Or Python would warn of a coroutine that was never awaited, which is an error here."""
    ran: list[int] = []

    async def job(number: int) -> int:
        ran.append(number)
        await asyncio.sleep(0)
        if number == 3:
            raise Failure(FailureKind.SERVER, "three")
        return number

    with pytest.raises(Failure, match="three"):
        await together([job(number) for number in range(3 * MOST_AT_ONCE)])
    assert len(ran) < 3 * MOST_AT_ONCE


async def test_more_jobs_than_places_all_get_their_turn() -> None:
    running = 0
    most = 0

    async def job(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return number

    assert await together([job(number) for number in range(100)]) == list(range(100))
    assert most == MOST_AT_ONCE


class Running:
    """Jobs that end when they are told to, and what has become of them."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.running: set[int] = set()
        self.cancelled: set[int] = set()
        self.most = 0
        self.gates: dict[int, asyncio.Event] = {}
        self.is_closed = False

    async def job(self, number: int, failure: Exception | None = None) -> int:
        self.running.add(number)
        self.most = max(self.most, len(self.running))
        try:
            await self.gates.setdefault(number, asyncio.Event()).wait()
        except asyncio.CancelledError:
            self.cancelled.add(number)
            raise
        finally:
            self.running.remove(number)
        if failure:
            raise failure
        return number

    async def jobs(
        self, numbers: Iterable[int], failing: int | None = None, ending: int | None = None
    ) -> AsyncGenerator[Coroutine[Any, Any, int]]:
        """`failing` is the job that fails, `ending` the one in whose place the jobs themselves do."""
        try:
            for number in numbers:
                if number == ending:
                    raise BROKEN
                self.taken.append(number)
                yield self.job(number, BROKEN if number == failing else None)
        finally:
            self.is_closed = True

    def open(self, *numbers: int) -> None:
        for number in numbers:
            self.gates.setdefault(number, asyncio.Event()).set()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class TestInOrder:
    @pytest.mark.parametrize("at_once", [1, 2, 3, 20])
    async def test_results_come_in_order_whoever_is_first(self, at_once: int) -> None:
        jobs = Running()
        seen = []
        async with asyncio.timeout(DEADLINE_SECONDS):
            results = in_order(jobs.jobs(range(10)), at_once)
            for first in range(10):
                reading = asyncio.ensure_future(anext(results))
                await settled()
                for number in sorted(jobs.running, reverse=True):
                    jobs.open(number)
                    await settled()
                seen.append(await reading)
                assert len(jobs.taken) <= first + at_once
            with pytest.raises(StopAsyncIteration):
                await anext(results)
        assert seen == list(range(10))
        assert jobs.most == min(at_once, 10)

    async def test_a_job_is_taken_when_there_is_a_place_for_it(self) -> None:
        jobs = Running()
        jobs.open(*range(10))
        async with asyncio.timeout(DEADLINE_SECONDS), aclosing(in_order(jobs.jobs(range(10)), 3)) as results:
            assert jobs.taken == []
            assert await anext(results) == 0
            await settled()
            assert jobs.taken == [0, 1, 2]
            assert await anext(results) == 1
            assert jobs.taken == [0, 1, 2, 3]
        assert jobs.taken == [0, 1, 2, 3]

    async def test_one_at_a_time_knows_what_came_before(self) -> None:
        jobs = Running()
        jobs.open(*range(5))
        seen: list[int] = []
        async for number in in_order(jobs.jobs(range(5)), 1):
            assert jobs.taken == [*seen, number]
            seen.append(number)

    async def test_no_job_gives_no_result(self) -> None:
        assert [each async for each in in_order(Running().jobs([]), 2)] == []

    async def test_a_failure_comes_in_its_turn_and_ends_the_others(self) -> None:
        jobs = Running()
        jobs.open(0, 1)
        results = in_order(jobs.jobs(range(10), failing=1), 4)
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await anext(results) == 0
            with pytest.raises(httpx2.RemoteProtocolError):
                await anext(results)
        assert jobs.taken == [0, 1, 2, 3, 4]
        assert jobs.cancelled == {2, 3}  # the last had not begun
        assert jobs.running == set()
        assert jobs.is_closed

    async def test_several_failures_are_one(self) -> None:
        jobs = Running()
        jobs.open(0, 1, 2)

        async def all_fail() -> AsyncGenerator[Coroutine[Any, Any, int]]:
            for number in range(3):
                yield jobs.job(number, BROKEN)

        with pytest.raises(httpx2.RemoteProtocolError):
            await anext(in_order(all_fail(), 3))

    async def test_what_makes_the_jobs_may_fail_and_ends_them(self) -> None:
        jobs = Running()
        with pytest.raises(httpx2.RemoteProtocolError):
            await anext(in_order(jobs.jobs(range(10), ending=2), 4))
        assert jobs.taken == [0, 1]
        assert jobs.running == set()

    @pytest.mark.parametrize("count", [3, 10])
    async def test_closing_ends_the_others_and_what_makes_them(self, count: int) -> None:
        jobs = Running()
        jobs.open(0)
        source = jobs.jobs(range(count))
        results = in_order(source, 3)
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await anext(results) == 0
            await settled()
            await results.aclose()
        assert jobs.cancelled == {1, 2}
        assert jobs.is_closed

    async def test_cancellation_ends_all(self) -> None:
        jobs = Running()
        jobs.open(0)

        async def read_all() -> None:
            async for _ in in_order(jobs.jobs(range(10)), 3):
                pass

        async with asyncio.timeout(DEADLINE_SECONDS):
            task = asyncio.create_task(read_all())
            await settled()
            task.cancel()
            await asyncio.wait([task])
        assert task.cancelled()
        assert jobs.cancelled == {1, 2, 3}
        assert jobs.is_closed

    async def test_the_jobs_may_come_from_anything_that_can_be_read(self) -> None:
        class Once:
            def __init__(self) -> None:
                self._jobs = [asyncio.sleep(0, 2), asyncio.sleep(0, 1)]

            def __aiter__(self) -> "Once":
                return self

            async def __anext__(self) -> Coroutine[Any, Any, int]:
                if not self._jobs:
                    raise StopAsyncIteration
                return self._jobs.pop()

        assert [number async for number in in_order(Once(), 2)] == [1, 2]

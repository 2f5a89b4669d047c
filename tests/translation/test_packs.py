import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from app.translation.packs import Packer
from tests.upstream.test_flights import DEADLINE_SECONDS, steps, tasks_left

pytestmark = pytest.mark.anyio

LONG_SECONDS = 3600.0
"""A pack that leaves only when it is full."""


@pytest.fixture(autouse=True)
async def _no_task_is_left() -> AsyncGenerator[None]:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    yield
    assert tasks_left() == []
    assert complaints == []


class Upstream:
    """Answers in capitals, once it is let go."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.packs: list[list[str]] = []
        self.cancelled = 0
        self.open = asyncio.Event()
        if is_open:
            self.open.set()

    async def __call__(self, texts: list[str]) -> list[str]:
        self.packs.append(texts)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return [text.upper() for text in texts]


def adding(
    packer: Packer[str], send: Any, *texts: str, group: str = "group", most: int = 3, most_characters: int = 10
) -> list[asyncio.Task[str]]:
    return [
        asyncio.create_task(packer.add(group, text, send, most=most, most_characters=most_characters)) for text in texts
    ]


async def all_of(tasks: list[asyncio.Task[str]]) -> list[str]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await asyncio.gather(*tasks)


async def test_what_comes_within_the_window_goes_together_and_comes_back_in_order() -> None:
    upstream = Upstream()
    assert await all_of(adding(Packer(0.001), upstream, "a", "b")) == ["A", "B"]
    assert upstream.packs == [["a", "b"]]


async def test_what_comes_later_goes_by_itself() -> None:
    packer, upstream = Packer[str](0), Upstream()
    await all_of(adding(packer, upstream, "a"))
    await all_of(adding(packer, upstream, "b"))
    assert upstream.packs == [["a"], ["b"]]


async def test_a_full_pack_does_not_wait() -> None:
    packer, upstream = Packer[str](LONG_SECONDS), Upstream()
    assert await all_of(adding(packer, upstream, *"abcdef")) == [*"ABCDEF"]
    assert upstream.packs == [["a", "b", "c"], ["d", "e", "f"]]


async def test_a_pack_leaves_before_it_has_too_many_characters() -> None:
    upstream = Upstream()
    await all_of(adding(Packer(0.001), upstream, "a" * 6, "b" * 4, "c"))
    assert upstream.packs == [["a" * 6, "b" * 4], ["c"]]


async def test_a_text_beyond_the_limit_goes_alone() -> None:
    upstream = Upstream()
    await all_of(adding(Packer(0.001), upstream, "a", "b" * 11, "c"))
    assert upstream.packs == [["a"], ["b" * 11], ["c"]]


async def test_groups_stay_apart() -> None:
    packer, upstream = Packer[str](0.001), Upstream()
    await all_of([*adding(packer, upstream, "a", group="one"), *adding(packer, upstream, "b", group="two")])
    assert sorted(upstream.packs) == [["a"], ["b"]]


async def test_who_leaves_before_the_pack_is_left_out_of_it() -> None:
    upstream = Upstream()
    first, second = adding(Packer(0.001), upstream, "a", "b")
    await steps(1)
    first.cancel()
    assert await all_of([second]) == ["B"]
    assert upstream.packs == [["b"]]
    assert first.cancelled()


async def test_who_leaves_on_the_way_takes_nothing_from_the_others() -> None:
    upstream = Upstream(is_open=False)
    first, second, third = adding(Packer(LONG_SECONDS), upstream, "a", "b", "c")
    await steps()
    first.cancel()
    await steps()
    upstream.open.set()
    assert await all_of([second, third]) == ["B", "C"]
    assert upstream.cancelled == 0


async def test_a_call_that_nobody_waits_for_is_cancelled() -> None:
    upstream = Upstream(is_open=False)
    tasks = adding(Packer(LONG_SECONDS), upstream, "a", "b", "c")
    await steps()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert tasks_left() == []
    assert (len(upstream.packs), upstream.cancelled) == (1, 1)


async def test_a_pack_that_nobody_waits_for_leaves_no_timer_and_no_place_for_others() -> None:
    packer, upstream, new = Packer[str](LONG_SECONDS), Upstream(), Upstream()
    tasks = adding(packer, upstream, "a", "b")
    await steps()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await all_of(adding(packer, new, *"cde")) == [*"CDE"]
    assert upstream.packs == []
    assert [handle for handle in timers() if not handle.cancelled()] == []


def timers() -> list[asyncio.TimerHandle]:
    """Of the packer: the only ones an hour away."""
    loop: Any = asyncio.get_running_loop()
    return [handle for handle in loop._scheduled if handle.when() > loop.time() + LONG_SECONDS / 2]


async def test_who_leaves_as_the_pack_leaves_costs_no_call() -> None:
    upstream = Upstream()
    (task,) = adding(Packer(LONG_SECONDS), upstream, "a", most=1)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert upstream.packs == []


async def test_a_failure_is_that_of_each() -> None:
    async def fail(_: list[str]) -> list[str]:
        raise KeyError("gone")

    outcomes = await asyncio.gather(*adding(Packer(0.001), fail, "a", "b"), return_exceptions=True)
    assert [repr(outcome) for outcome in outcomes] == ["KeyError('gone')"] * 2


async def test_too_few_answers_are_a_failure_and_nobody_waits_for_ever() -> None:
    async def lose(texts: list[str]) -> list[str]:
        return texts[1:]

    async with asyncio.timeout(DEADLINE_SECONDS):
        outcomes = await asyncio.gather(*adding(Packer(0.001), lose, "a", "b"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ValueError] * 2


async def test_who_has_left_is_not_told_of_a_failure() -> None:
    let_go = asyncio.Event()

    async def fail(_: list[str]) -> list[str]:
        await let_go.wait()
        raise KeyError("gone")

    first, second = adding(Packer(LONG_SECONDS), fail, "a", "b", most=2)
    await steps()
    first.cancel()
    let_go.set()
    assert [type(each) for each in await asyncio.gather(first, second, return_exceptions=True)] == [
        asyncio.CancelledError,
        KeyError,
    ]


async def test_a_call_that_is_cancelled_from_elsewhere_cancels_those_who_wait() -> None:
    async def give_up(_: list[str]) -> list[str]:
        raise asyncio.CancelledError

    tasks = adding(Packer(LONG_SECONDS), give_up, "a", "b", most=2)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks)


@pytest.mark.parametrize("most", [2, 3], ids=["on its way", "waiting"])
async def test_a_loop_that_ends_ends_packs(most: int) -> None:
    async def leave() -> Upstream:
        upstream = Upstream(is_open=False)
        adding(Packer(LONG_SECONDS), upstream, "a", "b", most=most)
        await steps()
        return upstream

    upstream = await asyncio.to_thread(asyncio.run, leave())
    assert upstream.cancelled == (most == 2)

"""Limits that several workers keep together. In these tests they are limiters in one process, each with its board."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from app.calls import Account, Caller, Limits
from app.errors import RateLimitError
from app.limits import Limiter
from app.stores.board import Board
from app.stores.database import Database
from app.stores.ledger import Ledger

pytestmark = pytest.mark.anyio

OURS = Account("first", "token", "https://api.example")
WORKERS = 3


class Clock:
    """For all workers."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def limiters(tmp_path: Path, clock: Clock) -> AsyncGenerator[list[Limiter]]:
    async with AsyncExitStack() as parts:
        database = Database(tmp_path / "flarelay.db")
        await database.open()
        parts.push_async_callback(database.aclose)
        ledger, found = Ledger(database), []
        for _ in range(WORKERS):
            board = Board(tmp_path / "workers", WORKERS, tell=bytes, take_over=print, now=clock)
            await board.open()
            parts.push_async_callback(board.aclose)
            found.append(Limiter(ledger, others=board))
        yield found


def caller(name: str = "one", **limits: Any) -> Caller:
    return Caller(name, OURS, limits=Limits(**limits))


def is_admitted(limiter: Limiter, asker: Caller) -> bool:
    try:
        limiter.release(limiter.admit(asker))
    except RateLimitError:
        return False
    return True


def remaining(limiter: Limiter, asker: Caller) -> str:
    return dict(limiter.headers(asker))[b"x-ratelimit-remaining-requests"].decode()


async def test_a_bucket_is_one_for_all(limiters: list[Limiter], clock: Clock) -> None:
    asker = caller(requests_per_minute=6)
    for turn in range(6):
        assert is_admitted(limiters[turn % WORKERS], asker)
        clock.seconds += 0.001
    assert not any(is_admitted(limiter, asker) for limiter in limiters)
    assert [remaining(limiter, asker) for limiter in limiters] == ["0"] * WORKERS
    clock.seconds += 10
    assert [remaining(limiter, asker) for limiter in limiters] == ["1"] * WORKERS
    assert [is_admitted(limiter, asker) for limiter in limiters] == [True, False, False]
    assert is_admitted(limiters[1], caller("another", requests_per_minute=6))


async def test_a_bucket_fills_no_faster_for_being_used_by_many(limiters: list[Limiter], clock: Clock) -> None:
    asker = caller(requests_per_minute=60)
    admitted = 0
    for step in range(6000):  # ten minutes, ten requests a second
        clock.seconds += 0.1
        admitted += is_admitted(limiters[step % WORKERS], asker)
    assert 655 <= admitted <= 661


async def test_a_worker_that_was_idle_knows_what_the_others_have_let_in(limiters: list[Limiter], clock: Clock) -> None:
    asker = caller(requests_per_minute=60)
    assert is_admitted(limiters[0], asker)
    for _ in range(120):  # one a second: as fast as it fills
        clock.seconds += 1
        assert is_admitted(limiters[1], asker)
    assert remaining(limiters[0], asker) == "59"
    clock.seconds += 60
    for _ in range(60):
        assert is_admitted(limiters[1], asker)
    assert not is_admitted(limiters[0], asker)


async def test_a_clock_that_is_behind_the_others_fills_nothing(limiters: list[Limiter], clock: Clock) -> None:
    asker = caller(requests_per_minute=1)
    assert is_admitted(limiters[0], asker)
    clock.seconds -= 30
    assert not is_admitted(limiters[1], asker)


async def test_running_requests_are_those_of_all(limiters: list[Limiter]) -> None:
    asker = caller(concurrent_requests=2, requests_per_minute=100)
    first, second = limiters[0].admit(asker), limiters[1].admit(asker)
    assert not any(is_admitted(limiter, asker) for limiter in limiters)
    assert remaining(limiters[2], asker) == "98"
    limiters[1].release(second)
    assert all(is_admitted(limiter, asker) for limiter in limiters)
    limiters[0].release(first)
    third = limiters[2].admit(asker)
    assert is_admitted(limiters[0], asker)
    limiters[2].release(third)


async def test_a_refusal_for_the_pace_runs_no_more(limiters: list[Limiter]) -> None:
    asker = caller(concurrent_requests=1, requests_per_minute=1)
    assert is_admitted(limiters[0], asker)
    for limiter in limiters:
        with pytest.raises(RateLimitError, match="requests per min"):
            limiter.admit(asker)


async def test_without_its_board_a_worker_counts_for_itself(tmp_path: Path, limiters: list[Limiter]) -> None:
    closed = Board(tmp_path / "elsewhere", WORKERS, tell=bytes, take_over=print)
    ledger = Ledger(Database(tmp_path / "unused.db"))
    limiter, asker = Limiter(ledger, others=closed), caller(requests_per_minute=1, concurrent_requests=1)
    assert is_admitted(limiter, asker)
    assert not is_admitted(limiter, asker)
    assert is_admitted(limiters[0], asker)

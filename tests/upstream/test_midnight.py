"""Accounts around 00:00 UTC, over a real socket: Cloudflare has its clock, and we have ours."""

from collections.abc import AsyncIterator

import pytest

from app.calls import Account, Call, Caller, Failure, FailureKind
from app.emulator.meters import Meters
from app.upstream.accounts import JITTER_SECONDS, LAG_SECONDS, Accounts
from app.upstream.client import WorkersAI
from app.upstream.transport import make_transport
from tests.serving import NATIVE, Cloudflare, cloudflare

pytestmark = pytest.mark.anyio

MIDNIGHT = 20_000 * 86_400.0
ALLOWANCE = 10_000.0
IDS = ("one", "two")
CALL = Call(NATIVE, f"run/{NATIVE}", {"prompt": "Hello", "max_tokens": 5}, affinity="a session")


class Clock:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


class World:
    """A server of ours, and Cloudflare; each with its clock."""

    def __init__(self, upstream: Cloudflare) -> None:
        self.ours, self.cloudflares = Clock(MIDNIGHT), Clock(MIDNIGHT)
        self.meters = upstream.emulator.meters = Meters(upstream.emulator.options, now=self.cloudflares)
        self.transport = make_transport()
        self.client = WorkersAI(self.transport, accounts=Accounts(now=self.ours))
        first, *others = (Account(name, "token", upstream.url) for name in IDS)
        self.caller = Caller("somebody", first, tuple(others))
        self.upstream = upstream

    def set(self, seconds: float, *, ahead: float = 0) -> None:
        """So long after midnight; `ahead` is our clock of Cloudflare's."""
        self.cloudflares.seconds, self.ours.seconds = MIDNIGHT + seconds, MIDNIGHT + seconds + ahead

    def spend(self, *ids: str) -> None:
        for name in ids:
            self.meters.charge(name, ALLOWANCE)

    async def answerer(self) -> str:
        """Which account has answered. Raises Failure."""
        _, reply = await self.client.run(CALL, self.caller)
        return reply.origin.account


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with cloudflare(tokens=None, daily_neurons=ALLOWANCE) as upstream:
        world = World(upstream)
        yield world
        await world.transport.aclose()


async def test_a_spent_account_is_back_with_the_new_day(world: World) -> None:
    world.set(-10)
    favourite = await world.answerer()
    (other,) = set(IDS) - {favourite}
    world.spend(favourite)
    assert [await world.answerer() for _ in range(3)] == [other] * 3
    assert [request.path.split("/")[4] for request in world.upstream.emulator.requests].count(favourite) == 2
    world.set(JITTER_SECONDS + 1)
    assert await world.answerer() == favourite


async def test_all_spent_accounts_are_told_until_midnight_and_asked_again_after_it(world: World) -> None:
    world.set(-20)
    world.spend(*IDS)
    for _ in range(2):
        with pytest.raises(Failure) as caught:
            await world.answerer()
        assert caught.value.kind is FailureKind.QUOTA
        assert 20 <= (caught.value.retry_after_seconds or 0) <= 20 + JITTER_SECONDS
    assert len(world.upstream.emulator.requests) == len(IDS)
    world.set(JITTER_SECONDS + 1)
    assert await world.answerer() in IDS


async def test_a_clock_that_is_ahead_costs_a_minute_and_no_day(world: World) -> None:
    world.set(-5, ahead=10)  # here the new day has begun, and Cloudflare still refuses for the old one
    world.spend(*IDS)
    with pytest.raises(Failure) as caught:
        await world.answerer()
    assert (caught.value.retry_after_seconds or 0) <= LAG_SECONDS
    world.set(LAG_SECONDS, ahead=10)
    assert await world.answerer() in IDS

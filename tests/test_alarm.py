"""Alarm: it rings when its last deadline has passed, and then only."""

import asyncio

import pytest

from app.alarm import Alarm

pytestmark = pytest.mark.anyio


class Bell:
    """An alarm that counts its rings."""

    def __init__(self) -> None:
        self.rings = 0
        self.rang = asyncio.Event()
        self.alarm = Alarm(self.ring)

    def ring(self) -> None:
        self.rings += 1
        self.rang.set()


async def test_it_rings_once() -> None:
    bell = Bell()
    bell.alarm.set(0.01)
    await asyncio.wait_for(bell.rang.wait(), 10)
    await asyncio.sleep(0.03)
    assert bell.rings == 1


async def test_later_deadline_replaces_the_first_without_a_new_timer() -> None:
    bell = Bell()
    bell.alarm.set(0.01)
    timer = bell.alarm._timer
    bell.alarm.set(3600)
    assert bell.alarm._timer is timer
    await asyncio.sleep(0.03)
    assert bell.rings == 0
    bell.alarm.cancel()


async def test_earlier_deadline_replaces_the_first() -> None:
    bell = Bell()
    bell.alarm.set(3600)
    first = bell.alarm._timer
    bell.alarm.set(0.01)
    await asyncio.wait_for(bell.rang.wait(), 10)
    assert first is not None
    assert first.cancelled()


async def test_no_deadline_is_no_ring() -> None:
    bell = Bell()
    bell.alarm.set(None)
    assert bell.alarm._timer is None
    bell.alarm.set(0.01)
    bell.alarm.set(None)
    await asyncio.sleep(0.03)
    assert bell.rings == 0


async def test_it_can_be_set_again_after_ringing() -> None:
    bell = Bell()
    for rings in (1, 2):
        bell.rang.clear()
        bell.alarm.set(0.01)
        await asyncio.wait_for(bell.rang.wait(), 10)
        assert bell.rings == rings


async def test_cancelled_alarm_leaves_no_timer() -> None:
    bell = Bell()
    bell.alarm.cancel()
    bell.alarm.set(0.01)
    bell.alarm.cancel()
    await asyncio.sleep(0.03)
    assert bell.alarm._timer is None
    assert bell.rings == 0

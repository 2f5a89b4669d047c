"""Writes: all of a turn go out in the next one, whatever becomes of one of them."""

import asyncio

import pytest

from app.server.writes import Writes

pytestmark = pytest.mark.anyio


async def test_they_go_out_in_the_next_turn_in_order(caplog: pytest.LogCaptureFixture) -> None:
    writes, written = Writes(asyncio.get_running_loop()), list[str]()

    def fail() -> None:
        raise OSError("gone")

    def again() -> None:
        written.append("b")
        writes.add(lambda: written.append("d"))

    for write in (lambda: written.append("a"), fail, again, lambda: written.append("c")):
        writes.add(write)
    assert written == []
    await asyncio.sleep(0)
    assert written == ["a", "b", "c"]  # what is added meanwhile is for the turn after it
    await asyncio.sleep(0)
    assert written == ["a", "b", "c", "d"]
    assert [record.getMessage() for record in caplog.records] == ["a write has failed"]

"""Starts: a few in each turn of the event loop, and none is passed over."""

import asyncio
from functools import partial

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from app.server.protocol import OPTIONS, Protocol
from app.server.starts import MOST_AT_ONCE, Starts
from tests.server.wires import Wire, request, until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("arriving", [1, MOST_AT_ONCE, MOST_AT_ONCE + 1, MOST_AT_ONCE * 2, 100])
async def test_so_many_begin_in_each_turn_and_in_order(arriving: int) -> None:
    starts, begun = Starts(asyncio.get_running_loop()), list[int]()
    for number in range(arriving):
        starts.add(partial(begun.append, number))
    while len(begun) < arriving:
        assert len(begun) % MOST_AT_ONCE == 0
        before = len(begun)
        await asyncio.sleep(0)
        assert len(begun) == min(before + MOST_AT_ONCE, arriving)
    assert begun == list(range(arriving))


async def test_who_comes_later_waits_for_those_before() -> None:
    starts, begun = Starts(asyncio.get_running_loop()), list[int]()
    for number in range(MOST_AT_ONCE * 2):
        starts.add(partial(begun.append, number))
    await asyncio.sleep(0)
    starts.add(partial(begun.append, -1))
    assert begun == list(range(MOST_AT_ONCE * 2))  # as many as there may be in this turn
    await asyncio.sleep(0)
    assert begun[-1] == -1
    await asyncio.sleep(0)
    starts.add(partial(begun.append, -2))
    assert begun[-1] == -2  # and where nobody waits it begins at once


async def test_requests_of_all_connections_share_the_turns() -> None:
    begun = 0

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        nonlocal begun
        begun += 1
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    config, state, wires = Config(app, lifespan="off", **OPTIONS), ServerState(), list[Wire]()
    for _ in range(MOST_AT_ONCE * 2):
        protocol = Protocol(config, state, {})
        wires.append(Wire(protocol))
        protocol.connection_made(wires[-1])
    for wire in wires:
        assert wire.protocol
        wire.protocol.data_received(request())
    await asyncio.sleep(0)
    assert begun == MOST_AT_ONCE
    await until(lambda: all(wire.writes for wire in wires))
    assert begun == len(wires)

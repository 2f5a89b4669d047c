"""Events that are written in the callback that brings them: byte for byte what the task of the request would write.

The task does it all where the server gives no exchange. Upstream, Flarelay and client share the test's event loop.
"""

import asyncio
import gc
import logging
import random
import re
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import orjson
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from app.emulator.app import create_emulator
from app.main import create_app
from app.server.exchange import KEY as EXCHANGE
from app.server.exchange import Exchange
from tests.server.wires import Client, Connect, Connection, listening, settled, until
from tests.server.wires import request as http_request
from tests.serving import CHAT, KEY, NATIVE, Cloudflare, asked, payloads, settings, written
from tests.upstream.scripted import Peer, Step, ask, hang_up, reset, serving
from tests.upstream.scripted import Server as Upstream

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"
CHAT_URL = "/v1/chat/completions"

BODIES: dict[str, dict[str, Any]] = {
    CHAT_URL: asked("Hi", stream=True, stream_options={"include_usage": True}),
    "/v1/completions": {"model": NATIVE, "prompt": "Hi", "stream": True, "stream_options": {"include_usage": True}},
    "/v1/messages": asked("Hi", stream=True, max_tokens=100),
    "/v1/responses": {"model": NATIVE, "input": "Hi", "stream": True, "store": False},
}


# What Cloudflare sends


def event(value: Any) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(value)


def native(text: str) -> bytes:
    return event({"response": text, "p": "abdefgh"})


def delta(text: str, finish_reason: str | None = None, **more: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text} | more, "finish_reason": finish_reason}]})


USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18, "neurons": 1.5}
ENDING = delta("", "stop") + event({"response": "", "usage": USAGE}) + DONE
FAILURE = event({"errors": [{"code": 3040, "message": "Capacity temporarily exceeded"}], "success": False})


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def response(*pieces: bytes) -> bytes:
    return HEAD + b"".join(map(chunk, pieces)) + LAST


async def moment(_: Peer) -> None:
    """Long enough for what was sent to be read by itself, mostly."""
    await asyncio.sleep(0.003)


def apart(*pieces: bytes) -> list[Step]:
    """Each in a chunk, and in a packet, of its own."""
    steps: list[Step] = [ask, HEAD]
    for piece in pieces:
        steps += [chunk(piece), moment]
    return steps


# Flarelay between both


class Answer(NamedTuple):
    status: int
    body: bytes
    is_whole: bool


class Listener:
    """A client that keeps what it receives."""

    def __init__(self, client: Client) -> None:
        self.received = b""
        self._client = client
        self._more = asyncio.Event()

    async def ask(self, path: str, body: dict[str, Any], *fields: bytes) -> Answer:
        """Up to the end of the answer, or of the connection."""
        self.received = b""
        await self._client.send(asking(path, body, *fields))
        while not self.answer.is_whole and (data := await self._client.reader.read(2**20)):
            self.received += data
            self._more.set()
        return self.answer

    async def hears(self, text: bytes) -> None:
        while text not in self.received:
            self._more.clear()
            await self._more.wait()

    @property
    def answer(self) -> Answer:
        head, end, rest = self.received.partition(b"\r\n\r\n")
        if not end:
            return Answer(0, b"", False)
        status = int(head.split(b" ")[1])
        if length := re.search(rb"content-length: (\d+)", head):
            return Answer(status, rest, len(rest) == int(length[1]))
        return Answer(status, *dechunked(rest))


def dechunked(data: bytes) -> tuple[bytes, bool]:
    """The body, and whether its end is there, behind which nothing may be."""
    pieces: list[bytes] = []
    start = 0
    while (at := data.find(b"\r\n", start)) >= 0:
        size = int(data[start:at], 16)
        if not size:
            assert data[start:] == LAST
            return b"".join(pieces), True
        pieces.append(data[at + 2 : at + 2 + size])
        start = at + 2 + size + 2
    return b"".join(pieces), False


def asking(path: str, body: dict[str, Any], *fields: bytes) -> bytes:
    content = orjson.dumps(body)
    return http_request(
        b"authorization: Bearer " + KEY.encode(), *fields, method=b"POST", target=path.encode(), body=content
    )


def without_exchange(app: ASGIApp) -> ASGIApp:
    """As on any other server."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        del scope[EXCHANGE]
        await app(scope, receive, send)

    return answer


@asynccontextmanager
async def application(upstream: Upstream, *, is_passed: bool = True, **options: Any) -> AsyncIterator[ASGIApp]:
    app = create_app(settings(Cloudflare(create_emulator(), upstream.url), **options))
    async with app.router.lifespan_context(app):
        yield app if is_passed else without_exchange(app)


@asynccontextmanager
async def relaying(
    *scripts: list[Step], is_passed: bool = True, **options: Any
) -> AsyncIterator[tuple[Connect, Upstream]]:
    """What connects a client to Flarelay before Cloudflare."""
    async with (
        serving(*scripts) as upstream,
        application(upstream, is_passed=is_passed, **options) as app,
        listening(app) as (connect, _),
    ):
        yield connect, upstream


def plain(answer: Answer) -> Answer:
    """Without what differs from one request to the next."""
    body = re.sub(rb'"(created|created_at|completed_at)":\d+', rb'"\1":0', answer.body)
    if name := re.search(rb"(?:chatcmpl-|cmpl-|resp_|msg_)(\w+)", body):
        body = body.replace(name[1], b"ID")
    return answer._replace(body=re.sub(rb'"request_id":"[^"]+"', b"", body))


async def both(script: list[Step], body: dict[str, Any], path: str = CHAT_URL, **options: Any) -> tuple[Answer, Answer]:
    """What is passed on, and what the task sends."""
    answers = []
    for is_passed in (True, False):
        async with relaying(script, is_passed=is_passed, **options) as (connect, _):
            answers.append(plain(await Listener(await connect()).ask(path, body)))
    return answers[0], answers[1]


# The same bytes


SIGNS = ["w", "é", "🜁", "<", '"', chr(92), chr(0), chr(0x2028)]


@pytest.mark.parametrize("seed", range(4))
async def test_a_stream_cut_anywhere_at_any_pace_is_the_same(seed: int) -> None:
    chance = random.Random(seed)
    texts = [f"{chance.choice(SIGNS)}{number} " for number in range(20)]
    steps: list[Step] = []

    def play(data: bytes) -> list[Step]:
        cuts = sorted(chance.sample(range(1, len(data)), chance.randrange(40)))
        played: list[Step] = [ask]
        for start, end in pairwise([0, *cuts, len(data)]):
            played += [data[start:end], *chance.choice([[], [turn], [turn], [moment]])]
        return played

    async def turn(_: Peer) -> None:
        await asyncio.sleep(0)

    for _ in range(12):  # all on one connection
        events = [chance.choice([native, delta])(text) for text in texts] + [ENDING]
        separators = chance.choice([b"\n\n", b"\n\n", b"\r\n\r\n", b"\n\n: comment\n\n"])
        steps += play(response(*(each.replace(b"\n\n", separators) for each in events)))
    body = BODIES[CHAT_URL]
    async with relaying(steps) as (connect, upstream):
        listener = Listener(await connect())
        answers = [plain(await listener.ask(CHAT_URL, body)) for _ in range(12)]
        assert upstream.accepted == 1
    async with relaying([ask, response(*map(native, texts), ENDING)], is_passed=False) as (connect, _):
        expected = plain(await Listener(await connect()).ask(CHAT_URL, body))
    assert expected.is_whole
    assert written(payloads(expected.body.decode())) == "".join(texts)
    assert payloads(expected.body.decode())[-2]["usage"]["completion_tokens"] == 7
    assert answers == [expected] * 12


@pytest.mark.parametrize("path", BODIES)
async def test_every_endpoint_tells_the_same_batch_by_batch(path: str) -> None:
    texts = [f"w{number} " for number in range(30)]
    data = b"".join(map(native, texts))
    cuts = [0, *sorted(random.Random(path).sample(range(1, len(data)), 25)), len(data)]

    async def told(*, is_passed: bool) -> Answer:
        steps: list[Step] = [ask, HEAD]
        for start, end in pairwise(cuts):
            steps += [chunk(data[start:end]), heard(data[:end], lambda: listener)]
        async with relaying([*steps, chunk(ENDING) + LAST], is_passed=is_passed) as (connect, _):
            listener = Listener(await connect())
            return plain(await listener.ask(path, BODIES[path]))

    answer = await told(is_passed=True)
    assert answer == await told(is_passed=False)
    assert answer.is_whole
    assert b"w29 " in answer.body


def heard(sent: bytes, listener: Callable[[], Listener]) -> Callable[[Peer], Any]:
    """Waits for the last text of what was sent to have come through."""
    complete, _, _ = sent.rpartition(b"\n\n")
    texts = re.findall(rb"w\d+ ", complete)

    async def step(_: Peer) -> None:
        if texts:
            await listener().hears(texts[-1])

    return step


LEAK = '<tool_call>{"name": "get_time", "arguments": {}}</tool_call>'
TOOLS = [{"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}]
PLAIN = BODIES[CHAT_URL]

CALL = event({"response": "", "tool_calls": [{"name": "get_time", "arguments": {}}]})
LARGE = "x" * 100_000

ANSWERS: dict[str, tuple[tuple[bytes, ...], dict[str, Any], str]] = {
    "a plain text": ((native("one "), native("two"), ENDING), {}, "one two"),
    "an end that comes with the last text": ((native("one "), native("two") + ENDING), {}, "one two"),
    "an end in an event without an end": ((native("one "), delta("two", "stop")[:-2]), {}, "one two"),
    "a large text": ((native("one "), native(LARGE), native("two"), ENDING), {}, f"one {LARGE}two"),
    "a stop sequence": ((native("one "), native("tw"), native("o three"), ENDING), {"stop": ["two"]}, "one "),
    "tags of thoughts": (
        (delta("<think>one"), delta(" two</th"), delta("ink>three "), delta("four "), delta("five"), ENDING),
        {"model": CHAT},
        "three four five",
    ),
    "thoughts in a field": ((delta("one "), delta("", reasoning_content="two "), delta("six"), ENDING), {}, "one six"),
    "a tool call in a field": ((native("one "), CALL, ENDING), {}, "one "),
    "a tool call as a text": ((native("one "), native(LEAK[:9]), native(LEAK[9:]), ENDING), {"tools": TOOLS}, "one "),
}


@pytest.mark.parametrize(("pieces", "options", "text"), ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_of_any_kind_is_the_same(pieces: Sequence[bytes], options: dict[str, Any], text: str) -> None:
    passed, pulled = await both([*apart(*pieces), LAST], PLAIN | options)
    assert passed == pulled
    assert passed.is_whole
    assert written(payloads(passed.body.decode())) == text
    assert passed.body.endswith(DONE)


async def test_an_end_in_one_packet_with_the_last_text_is_the_same() -> None:
    passed, pulled = await both([*apart(native("one ")), chunk(native("two") + ENDING) + LAST], PLAIN)
    assert passed == pulled
    assert written(payloads(passed.body.decode())) == "one two"


async def test_several_choices_are_told_apart() -> None:
    for answer in await both([*apart(native("one "), native("two "), ENDING), LAST], PLAIN | {"n": 2}):
        events = payloads(answer.body.decode())
        assert [written(events, index=index) for index in range(2)] == ["one two "] * 2
        assert events[-1] == "[DONE]"


FAULTS: dict[str, tuple[list[Step], str]] = {
    "a failure among events": (apart(native("one "), native("two ") + FAILURE + native("three"), ENDING), "capacity"),
    "a failure by itself": (apart(native("one "), native("two "), FAILURE), "capacity"),
    "a failure at the end": ([*apart(native("one ")), chunk(native("two ") + FAILURE) + LAST], "capacity"),
    "no JSON": (apart(native("one "), native("two "), b"data: {\n\n", ENDING), "not JSON"),
    "no choice": (apart(native("one "), native("two "), event({"choices": 1}), ENDING), "choice"),
    "an end in the middle": ([*apart(native("one "), native("two ")), LAST], "broke off"),
    "a connection that ends": ([*apart(native("one "), native("two ")), hang_up], ""),
    "a connection that ends in an event": ([*apart(native("one "), native("two "), native("three")[:-4]), hang_up], ""),
    "a connection that is reset": ([*apart(native("one "), native("two ")), reset], ""),
    "a chunk that is none": ([*apart(native("one "), native("two ")), b"no chunk"], ""),
    "silence": (apart(native("one "), native("two ")), "time"),
}


@pytest.mark.parametrize(("script", "told"), FAULTS.values(), ids=FAULTS)
async def test_what_breaks_off_does_not_look_whole(script: list[Step], told: str) -> None:
    passed, pulled = await both(script, PLAIN, idle_timeout_seconds=0.15 if told == "time" else 20)
    assert passed == pulled
    assert b"[DONE]" not in passed.body
    events = payloads(passed.body.decode())
    assert written(events[:-1]) == "one two "
    assert told.lower() in orjson.dumps(events[-1]["error"]).decode().lower()


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
async def test_a_failure_is_told_as_the_endpoint_tells_it(path: str) -> None:
    passed, pulled = await both(apart(native("one "), native("two "), native("three ") + FAILURE), BODIES[path], path)
    assert passed == pulled
    assert b"three " in passed.body
    assert not re.search(rb"message_stop|response.completed", passed.body)
    assert re.search(rb"event: error|response.failed", passed.body)


async def test_heartbeats_stand_between_events() -> None:
    async def silence(_: Peer) -> None:
        await listener.hears(b"keepalive")
        listener.received = listener.received.replace(b"keepalive", b"heartbeat")

    steps = [each for part in apart(*map(native, ("one ", "two ", "three ")))[2:] for each in (part, silence)]
    async with relaying([ask, HEAD, *steps, chunk(ENDING) + LAST], heartbeat_seconds=0.02) as (connect, _):
        listener = Listener(await connect())
        answer = await listener.ask(CHAT_URL, PLAIN)
    assert answer.is_whole
    assert answer.body.count(b": heartbeat\n\n") >= 3
    assert written(payloads(answer.body.decode())) == "one two three "


# A client that is slow, or leaves


async def test_a_client_that_reads_late_gets_it_all() -> None:
    text = "x" * 8000
    script: list[Step] = [ask, HEAD, *[chunk(native(text) * 20)] * 60, chunk(ENDING) + LAST]
    lengths = []
    for is_passed in (True, False):
        async with relaying(script, is_passed=is_passed) as (connect, _):
            client = await connect()
            await client.send(asking(CHAT_URL, PLAIN, b"connection: close"))
            await asyncio.sleep(0.1)
            body, is_whole = dechunked((await client.rest()).partition(b"\r\n\r\n")[2])
            assert is_whole
            assert written(payloads(body.decode())) == text * 1200
            lengths.append(len(body))
    assert lengths[0] == lengths[1]


async def test_nothing_is_written_to_a_client_that_takes_nothing_and_all_of_it_later() -> None:
    texts = [f"w{number} {'x' * 4000}" for number in range(200)]
    has_room = asyncio.Event()

    async def room(_: Peer) -> None:
        await has_room.wait()

    script: list[Step] = [*apart(native("one "), native("two ")), room, *map(chunk, map(native, texts)), room]
    script += [moment, chunk(native("end")), moment, chunk(ENDING) + LAST]
    async with serving(script) as upstream, application(upstream) as app:
        connection = Connection(app)
        connection.protocol.data_received(asking(CHAT_URL, PLAIN))
        await until(lambda: b"two " in connection.received)
        connection.protocol.pause_writing()
        count = len(connection.wire.writes)
        has_room.set()
        await asyncio.sleep(0.05)
        assert len(connection.wire.writes) == count
        connection.protocol.resume_writing()
        await until(lambda: connection.received.endswith(LAST))
        body, _ = dechunked(connection.received.partition(b"\r\n\r\n")[2])
        assert written(payloads(body.decode())) == "".join(["one two ", *texts, "end"])
        await connection.leave()


async def test_a_client_that_leaves_ends_the_call(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with relaying(apart(native("one "), native("two "), native("three "))) as (connect, upstream):
        client = await connect()
        await client.send(asking(CHAT_URL, PLAIN))
        await client.reader.readuntil(b"three ")
        assert upstream.open == 1
        client.leave()
        await upstream.has_open(0)
    (fields,) = [vars(each)["fields"] for each in caplog.records if each.message == "request"]
    assert (fields["status"], fields["error"]) == (499, "client_left")
    assert fields["completion_tokens"] > 0
    assert [each for each in caplog.records if each.levelno > logging.INFO] == []


async def test_a_task_that_is_cancelled_writes_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """As when the server stops."""
    tasks: list[asyncio.Task[Any]] = []
    script = [*apart(native("one "), native("two ")), stop(tasks), *apart(native("three "))[2:]]
    async with serving(script) as upstream, application(upstream) as app:

        async def noted(scope: Scope, receive: Receive, send: Send) -> None:
            task = asyncio.current_task()
            assert task
            tasks.append(task)
            await app(scope, receive, send)

        async with listening(noted) as (connect, _):
            client = await connect()
            await client.send(asking(CHAT_URL, PLAIN))
            body, is_whole = dechunked((await client.rest()).partition(b"\r\n\r\n")[2])
    assert not is_whole
    assert written(payloads(body.decode())) == "one two "


def stop(tasks: Sequence["asyncio.Task[Any]"]) -> Callable[[Peer], Any]:
    async def step(_: Peer) -> None:
        tasks[0].cancel()

    return step


# What is left


async def test_the_books_do_not_see_who_has_written_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await both([*apart(native("one "), native("two "), native("three "), ENDING), LAST], PLAIN)
    await both(apart(native("one "), native("two "), native("three "), FAILURE), PLAIN)
    lines = [vars(each)["fields"] for each in caplog.records if each.message == "request"]
    assert all(0 < line["first_byte_ms"] < line["duration_ms"] for line in lines)
    for line in lines:
        for name in ("request_id", "first_byte_ms", "duration_ms"):
            del line[name]
    assert lines[0] == lines[1]
    assert lines[2] == lines[3]
    assert (lines[0]["prompt_tokens"], lines[0]["completion_tokens"], lines[0]["neurons"]) == (11, 7, 1.5)
    assert lines[2]["completion_tokens"] > 0
    assert lines[2]["error"]


async def received(connection: Connection, last: bytes) -> None:
    await until(lambda: connection.received.endswith(last))


CLOSING = HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
ONE_TWO = apart(native("one "), native("two "))


@pytest.mark.parametrize(
    ("script", "options", "last"),
    [
        ([*ONE_TWO, chunk(ENDING) + LAST], {}, LAST),
        ([ask, CLOSING, *ONE_TWO[2:], chunk(ENDING) + LAST], {}, LAST),
        ([*ONE_TWO, chunk(native("stop"))], {"stop": ["stop"]}, LAST),
        (ONE_TWO, {}, b'"two "},"logprobs":null,"finish_reason":null}]}\n\n\r\n'),
    ],
    ids=["whole", "whole on a connection that ends", "stopped", "left"],
)
async def test_nothing_is_left_of_a_stream_for_the_collector(
    script: list[Step], options: dict[str, Any], last: bytes
) -> None:
    exchanges: weakref.WeakSet[Exchange] = weakref.WeakSet()
    async with serving(script) as upstream, application(upstream) as app:

        async def noted(scope: Scope, receive: Receive, send: Send) -> None:
            exchanges.add(scope[EXCHANGE])
            await app(scope, receive, send)

        connection = Connection(noted)
        gc.collect()
        gc.disable()
        try:
            connection.protocol.data_received(asking(CHAT_URL, PLAIN | options))
            await received(connection, last)
            assert len(exchanges) == 1
            await connection.leave()
            del connection
            await settled()
            assert not exchanges
        finally:
            gc.enable()

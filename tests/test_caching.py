import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.caching import KEY_FIELDS, Caching
from app.calls import NOWHERE, Account, Call, Caller, Failure, FailureKind, Origin, Reply
from app.catalog import Catalog
from app.stores.database import Database
from app.stores.replies import ReplyStore
from app.upstream.client import WorkersAI
from app.upstream.incoming import Events
from tests.upstream.replaying import (
    ACCOUNT,
    CALLER,
    DEADLINE_SECONDS,
    RUN,
    STREAM,
    Outcome,
    Replaying,
    Sleeper,
    answer,
    failed,
    frames,
    never,
    streamed,
    whole,
)

pytestmark = pytest.mark.anyio

CATALOG = Catalog.load()
BGE = "@cf/baai/bge-m3"
EMBED = Call(BGE, f"run/{BGE}", {"text": ["one", "two"], "pooling": "cls"})
VECTORS = {"shape": [2, 2], "data": [[0.25, 0.5], [1.0, 2.0]]}
TASKS = frozenset({"text-embeddings", "text-generation"})
OURS = Caller("other", ACCOUNT)
OWN = Caller("own", Account("acc1", "token-of-acc1", ACCOUNT.base_url, is_ours=False))
TTL_SECONDS = 3600


class Clock:
    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


class Setup:
    """A cache in front of a Workers AI that replays; `restarted` is another one on the same file."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = Clock()
        self.stores: list[ReplyStore] = []
        self.transport = Replaying()

    def __call__(self, *outcomes: Outcome, tasks: frozenset[str] = TASKS, is_shared: bool = False) -> Caching:
        self.transport = Replaying(*outcomes)
        store = ReplyStore(self.database, max_bytes=10**8, ttl_seconds=TTL_SECONDS, now=self.clock)
        self.stores.append(store)
        upstream = WorkersAI(self.transport, sleep=Sleeper())
        return Caching(upstream, CATALOG, store, tasks=tasks, is_shared=is_shared)

    async def restarted(self, *outcomes: Outcome) -> Caching:
        await self.stores[-1].flush()
        return self(*outcomes)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncGenerator[Setup]:
    database = Database(tmp_path / "flarelay.db")
    await database.open()
    setup = Setup(database)
    yield setup
    for store in setup.stores:
        await store.aclose()
    await database.aclose()


def enveloped(result: Any = VECTORS, neurons: str = "") -> httpx2.Response:
    return whole({"result": result, "success": True, "errors": [], "messages": []}, cf_ai_neurons=neurons)


def waiting(until: asyncio.Event, response: httpx2.Response) -> Callable[[httpx2.Request], Awaitable[httpx2.Response]]:
    async def answered(_: httpx2.Request) -> httpx2.Response:
        await until.wait()
        return response

    return answered


async def steps() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def asked(transport: Replaying, count: int) -> None:
    """Waits for so many requests to have arrived."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(transport.requests) < count:  # noqa: ASYNC110 - the database's thread comes before
            await asyncio.sleep(0.001)
    await steps()


async def test_what_was_asked_before_is_there_and_costs_nothing(make: Setup) -> None:
    caching = make(enveloped(neurons="3.5"))
    first = await caching.run(EMBED, CALLER)
    assert first == (EMBED, Reply(VECTORS, first[1].raw, 3.5, Origin("acc0")))
    again = await caching.run(EMBED, CALLER)
    assert again == (EMBED, Reply(VECTORS, first[1].raw, 0.0, NOWHERE, is_cached=True))
    assert again[0] is EMBED
    assert await (await make.restarted()).run(EMBED, CALLER) == again


async def test_bytes_come_back_as_bytes(make: Setup) -> None:
    raw = b"\x89PNG\n\n\xff"
    caching = make(answer(raw, content_type="image/png"))
    await caching.run(EMBED, CALLER)
    _, reply = await (await make.restarted()).run(EMBED, CALLER)
    assert reply == Reply(raw, raw, 0.0, is_cached=True)


async def test_a_charge_that_the_body_tells_was_somebody_elses(make: Setup) -> None:
    body = {"response": "hi", "usage": {"prompt_tokens": 3, "neurons": 1.5}}
    caching = make(whole(body))
    _, first = await caching.run(RUN, CALLER)
    _, again = await caching.run(RUN, CALLER)
    assert first.body == body
    assert again.body == {"response": "hi", "usage": {"prompt_tokens": 3}}
    assert again.raw == first.raw


@pytest.mark.parametrize("body", [[1], "text", {"usage": 3}, {"usage": {"prompt_tokens": 3}}])
async def test_other_bodies_are_as_they_were(make: Setup, body: Any) -> None:
    caching = make(whole(body))
    await caching.run(RUN, CALLER)
    assert (await caching.run(RUN, CALLER))[1].body == body


async def test_it_lasts_for_its_time(make: Setup) -> None:
    caching = make(enveloped(), enveloped([2]))
    await caching.run(EMBED, CALLER)
    make.clock.time += TTL_SECONDS - 1
    assert (await caching.run(EMBED, CALLER))[1].is_cached
    make.clock.time += 1
    _, reply = await caching.run(EMBED, CALLER)
    assert (reply.body, reply.is_cached) == ([2], False)
    assert (await caching.run(EMBED, CALLER))[1].body == [2]


@pytest.mark.parametrize(
    ("tasks", "call"),
    [
        (set(), EMBED),
        ({"text-embeddings"}, RUN),
        (TASKS, replace(RUN, model="@cf/nobody/knows-it")),
        (TASKS, replace(RUN, stream=True)),
    ],
)
async def test_other_calls_go_upstream_each_time(make: Setup, tasks: set[str], call: Call) -> None:
    caching = make(enveloped(), enveloped([2]), tasks=frozenset(tasks))
    replies = [(await caching.run(call, CALLER))[1] for _ in range(2)]
    assert [reply.body for reply in replies] == [VECTORS, [2]]
    assert not any(reply.is_cached for reply in replies)
    assert make.stores[0]._recent._entries == {}


async def test_streams_and_the_rest_are_passed_on(make: Setup) -> None:
    caching = make(streamed(frames({"response": "hi"})), enveloped([2]), enveloped([{"id": "x"}]), enveloped([]))
    _, events = await caching.open(STREAM, CALLER)
    assert isinstance(events, Events)
    assert events.first == [b'{"response":"hi"}']
    await events.aclose()
    raw = await caching.listen(EMBED, CALLER)
    assert raw.body == orjson.dumps({"result": [2], "success": True, "errors": [], "messages": []})
    await raw.aclose()
    assert await caching.models(ACCOUNT) == [{"id": "x"}]


async def test_a_failure_is_not_kept(make: Setup) -> None:
    caching = make(failed(5006, 400), enveloped())
    with pytest.raises(Failure):
        await caching.run(EMBED, CALLER)
    assert (await caching.run(EMBED, CALLER))[1].body == VECTORS


async def test_what_cannot_be_sent_fails_as_it_does_upstream(make: Setup) -> None:
    caching = make()
    with pytest.raises(Failure, match="can't be sent") as caught:
        await caching.run(replace(EMBED, body={"seed": 2**70}), CALLER)
    assert caught.value.kind is FailureKind.BAD_REQUEST


async def test_who_wants_a_new_reply_gets_one_and_it_is_kept(make: Setup) -> None:
    caching = make(enveloped(), enveloped([2]))
    await caching.run(EMBED, CALLER)
    _, reply = await caching.run(EMBED, replace(CALLER, gateway={"cf-aig-skip-cache": "true"}))
    assert (reply.body, reply.is_cached) == ([2], False)
    _, reply = await caching.run(EMBED, replace(CALLER, gateway={"cf-aig-skip-cache": "false"}))
    assert (reply.body, reply.is_cached) == ([2], True)


@pytest.mark.parametrize("value", [b"", b"no line", b"{\nx", b'{"is_json":true}\n{', b'{"is_json":true}\n'])
async def test_what_is_damaged_is_asked_for_again(make: Setup, value: bytes) -> None:
    caching = make(enveloped())
    key = caching._key(EMBED, CALLER)
    assert key
    make.stores[0].put(key, value)
    assert not (await caching.run(EMBED, CALLER))[1].is_cached
    assert (await caching.run(EMBED, CALLER))[1].is_cached


async def test_without_a_database_it_still_answers(make: Setup) -> None:
    caching = make(enveloped())
    await make.database.aclose()
    assert (await caching.run(EMBED, CALLER))[1].body == VECTORS


# Whose replies they are


@pytest.mark.parametrize(
    ("is_shared", "one", "other", "is_hit"),
    [
        (False, CALLER, replace(CALLER), True),
        (False, CALLER, OURS, False),
        (True, CALLER, OURS, True),
        (True, CALLER, replace(CALLER, others=(Account("acc9", "t", ACCOUNT.base_url),)), True),
        (True, CALLER, replace(OURS, account=replace(ACCOUNT, base_url="http://emulator.test")), False),
        (True, CALLER, OWN, False),
        (True, CALLER, replace(CALLER, account=replace(ACCOUNT, is_ours=False)), False),
        (True, OWN, replace(OWN, name="same"), True),
        (False, OWN, replace(OWN, name="same"), False),
        (False, OWN, replace(OWN), True),
        (False, OWN, replace(OWN, account=replace(OWN.account, token="another-token")), False),
        (True, OWN, replace(OWN, account=replace(OWN.account, token="another-token")), False),
        (True, OWN, replace(OWN, account=replace(OWN.account, id="acc2")), False),
    ],
)
async def test_whose_replies_a_caller_gets(
    make: Setup, is_shared: bool, one: Caller, other: Caller, is_hit: bool
) -> None:
    caching = make(enveloped(), enveloped(), is_shared=is_shared)
    await caching.run(EMBED, one)
    assert (await caching.run(EMBED, other))[1].is_cached is is_hit
    tokens = {one.account.token, other.account.token}
    await make.stores[0].flush()
    kept = await make.database.read(lambda connection: connection.execute("SELECT key, value FROM replies").fetchall())
    assert not any(token.encode() in each for row in kept for each in row for token in tokens)


# Keys

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(st.text(max_size=3), VALUES, max_size=4)
CALLS = st.builds(
    Call,
    model=st.sampled_from([BGE, RUN.model]),
    path=st.sampled_from(["run/a", "run/b"]),
    body=BODIES,
    affinity=st.sampled_from([None, "a", "b"]),
    content=st.none() | st.binary(max_size=3),
    content_type=st.sampled_from(["application/json", "image/png"]),
)


def key_of(call: Call, caller: Caller = CALLER, *, is_shared: bool = False) -> bytes | None:
    nothing = ReplyStore(Database(Path()), max_bytes=0, ttl_seconds=1)
    caching = Caching(WorkersAI(Replaying()), CATALOG, nothing, tasks=TASKS, is_shared=is_shared)
    return caching._key(call, caller)


def backwards(value: Any) -> Any:
    """With the fields of all objects in another order."""
    if isinstance(value, dict):
        return {name: backwards(each) for name, each in reversed(value.items())}
    return [backwards(each) for each in value] if isinstance(value, list) else value


@given(CALLS)
def test_the_same_call_has_the_same_key_wherever_it_goes(call: Call) -> None:
    same = replace(call, body=backwards(call.body), affinity="elsewhere")
    key = key_of(call)
    assert key
    assert key_of(same) == key


@given(CALLS, CALLS)
def test_another_call_has_another_key(one: Call, other: Call) -> None:
    def sent(call: Call) -> tuple[Any, ...]:
        body = orjson.dumps(call.body, option=orjson.OPT_SORT_KEYS)
        return (call.model, call.path, body, call.content, call.content_type)

    assert (key_of(one) == key_of(other)) == (sent(one) == sent(other))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "@cf/baai/bge-small-en-v1.5"},
        {"path": f"run/{BGE}?x=1"},
        {"body": {"text": ["one", "two"]}},
        {"body": {"text": ["two", "one"], "pooling": "cls"}},
        {"body": {"text": ["one", "two"], "pooling": "mean"}},
        {"content": b""},
        {"content": b"x"},
        {"content_type": "text/plain"},
    ],
    ids=str,
)
def test_any_change_of_a_call_makes_another_key(changes: dict[str, Any]) -> None:
    assert key_of(replace(EMBED, **changes)) != key_of(EMBED)


def test_every_field_of_a_call_is_in_the_key_or_left_out_on_purpose() -> None:
    assert {each.name for each in fields(Call)} - set(KEY_FIELDS) == {"stream", "affinity", "content"}


def test_a_text_that_no_json_can_hold_has_no_key() -> None:
    assert key_of(replace(EMBED, body={"text": "\ud83d"})) is None


# Several at once


async def test_identical_calls_at_once_are_one(make: Setup) -> None:
    end = asyncio.Event()
    caching = make(waiting(end, enveloped(neurons="2")))
    running = [asyncio.create_task(caching.run(EMBED, CALLER)) for _ in range(5)]
    await asked(make.transport, 1)
    end.set()
    replies = [reply for _, reply in await asyncio.gather(*running)]
    assert [(reply.neurons, reply.is_cached) for reply in replies] == [(2.0, False), *[(0.0, True)] * 4]
    assert [reply.body for reply in replies] == [VECTORS] * 5
    assert [reply.origin for reply in replies] == [Origin("acc0"), *[NOWHERE] * 4]
    assert len(make.transport.requests) == 1


async def test_identical_calls_of_strangers_are_not(make: Setup) -> None:
    caching = make(enveloped(), enveloped())
    replies = await asyncio.gather(caching.run(EMBED, CALLER), caching.run(EMBED, OWN))
    assert not any(reply.is_cached for _, reply in replies)


async def test_a_failure_is_everybodys(make: Setup) -> None:
    end = asyncio.Event()
    caching = make(waiting(end, failed(5006, 400)))
    running = [asyncio.create_task(caching.run(EMBED, CALLER)) for _ in range(3)]
    await asked(make.transport, 1)
    end.set()
    outcomes = await asyncio.gather(*running, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Failure] * 3


@pytest.mark.parametrize("leaving", [0, 1])
async def test_who_leaves_takes_nothing_from_the_others(make: Setup, leaving: int) -> None:
    end = asyncio.Event()
    caching = make(waiting(end, enveloped()))
    running = [asyncio.create_task(caching.run(EMBED, CALLER)) for _ in range(3)]
    await asked(make.transport, 1)
    running.pop(leaving).cancel()
    await steps()
    end.set()
    assert [reply.body for _, reply in await asyncio.gather(*running)] == [VECTORS] * 2
    assert (await caching.run(EMBED, CALLER))[1].is_cached


async def test_the_last_one_to_leave_ends_the_call(make: Setup) -> None:
    is_over = asyncio.Event()

    async def endless(request: httpx2.Request) -> httpx2.Response:
        try:
            return await never(request)
        finally:
            is_over.set()

    caching = make(endless, enveloped([2]))
    running = [asyncio.create_task(caching.run(EMBED, CALLER)) for _ in range(2)]
    await asked(make.transport, 1)
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert is_over.is_set()
    assert (await caching.run(EMBED, CALLER))[1].body == [2]


async def test_who_comes_at_once_shares_what_is_on_the_disk(make: Setup) -> None:
    await make(enveloped()).run(EMBED, CALLER)
    caching = await make.restarted()
    replies = await asyncio.gather(*(caching.run(EMBED, CALLER) for _ in range(3)))
    assert all(reply.is_cached for _, reply in replies)


# Calls that are mended

MENDED = replace(RUN, body={"prompt": "hi, in JSON"})


def mending(call: Call, outcome: Reply | Failure) -> Call | None:
    """Wants a dictionary; asks otherwise if it gets none. Knows calls by themselves, as completions do."""
    assert call is RUN
    return None if isinstance(outcome, Reply) and isinstance(outcome.body, dict) else MENDED


async def test_a_mended_call_is_known_by_what_was_asked(make: Setup) -> None:
    caching = make(whole("no"), whole({"a": 1}))
    assert (await caching.run(RUN, CALLER, mending))[0] is MENDED
    for each in (caching, await make.restarted()):
        answered, reply = await each.run(RUN, CALLER, mending)
        assert (answered, reply.body, reply.is_cached) == (MENDED, {"a": 1}, True)


async def test_a_failure_that_was_mended_is_a_reply_like_others(make: Setup) -> None:
    caching = make(failed(5025, 400), whole({"a": 1}))
    await caching.run(RUN, CALLER, mending)
    assert (await caching.run(RUN, CALLER, mending))[1].is_cached


async def test_what_is_bad_even_after_it_was_mended_is_not_kept(make: Setup) -> None:
    caching = make(whole("no"), whole("no again"), whole({"a": 1}))
    assert (await caching.run(RUN, CALLER, mending))[1].body == "no again"
    key = caching._key(RUN, CALLER)
    assert key
    assert make.stores[0].peek(key) is None
    assert (await caching.run(RUN, CALLER, mending))[1].body == {"a": 1}


async def test_who_wants_more_asks_for_himself(make: Setup) -> None:
    caching = make(whole("no"), whole("no"), whole({"a": 1}))
    await caching.run(RUN, CALLER)
    answered, reply = await caching.run(RUN, CALLER, mending)
    assert (answered, reply.is_cached) == (MENDED, False)


async def test_who_wants_more_does_so_beside_others_too(make: Setup) -> None:
    end = asyncio.Event()
    caching = make(waiting(end, whole("no")), whole("no"), whole({"a": 1}))
    easy = asyncio.create_task(caching.run(RUN, CALLER))
    await asked(make.transport, 1)
    strict = asyncio.create_task(caching.run(RUN, CALLER, mending))
    await steps()
    end.set()
    assert (await easy)[1].body == "no"
    assert (await strict)[1] == Reply({"a": 1}, b'{"a":1}', origin=Origin("acc0"))


async def test_a_form_that_was_mended_is_not_kept(make: Setup) -> None:
    form = replace(RUN, content=b"form")

    def otherwise(call: Call, outcome: Reply | Failure) -> Call | None:
        return None if isinstance(outcome, Reply) and outcome.body == {"a": 1} else replace(call, content=b"other")

    caching = make(whole("no"), whole({"a": 1}), whole("no"), whole({"a": 1}))
    for _ in range(2):
        assert not (await caching.run(form, CALLER, otherwise))[1].is_cached


async def test_an_answer_of_no_bytes_is_not_kept(make: Setup) -> None:
    caching = make(*(answer(content_type="audio/mpeg") for _ in range(2)))
    for _ in range(2):
        assert not (await caching.run(RUN, CALLER))[1].is_cached

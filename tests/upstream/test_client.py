"""WorkersAI over a transport that replays answers: what is sent, how it is read, and what is tried again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx2
import orjson
import pytest

from app.calls import Account, Call, Caller, Failure, FailureKind, Reply
from app.upstream.accounts import Accounts
from app.upstream.client import LONGEST_WAIT_SECONDS, MOST_PAGES, WorkersAI
from app.upstream.detour import Detour
from app.upstream.events import LARGEST_EVENT
from app.upstream.gateway import Gateway
from app.upstream.incoming import Events, Raw
from app.upstream.transport import Transport
from tests.upstream.replaying import (
    ACCOUNT,
    BASE,
    CALLER,
    DEADLINE_SECONDS,
    MODEL,
    OK,
    RUN,
    STREAM,
    Replaying,
    answer,
    body_of,
    cancelled,
    client,
    failed,
    frames,
    never,
    run,
    streamed,
    whole,
)
from tests.upstream.scripted import Step, ask, pause, serving, wait

pytestmark = pytest.mark.anyio

BUSY = (3040, 429, "No more data centers to forward the request to")


async def opened(*outcomes: Any, call: Call = STREAM, **options: Any) -> Events:
    _, events = await client(*outcomes, **options)[0].open(call, CALLER)
    assert isinstance(events, Events)
    return events


async def read_into(seen: list[bytes], events: Events) -> None:
    """All events, those of the first batch included."""
    seen += events.first
    while batch := await events.next():
        seen += batch


async def read(events: Events) -> list[bytes]:
    seen: list[bytes] = []
    await read_into(seen, events)
    return seen


class TestStream:
    async def test_events_come_in_the_batches_they_arrive_in(self) -> None:
        first, second = frames({"response": "a"}, {"response": "b"}), frames({"response": "c"})
        events = await opened(streamed(first[:7], first[7:], second + b"data: [DO", b"NE]\n\n"))
        assert events.first == [b'{"response":"a"}', b'{"response":"b"}']
        assert [await events.next() for _ in range(4)] == [[b'{"response":"c"}'], [b"[DONE]"], [], []]
        assert events.is_closed

    @pytest.mark.parametrize("content_type", [None, "text/plain", "application/octet-stream"])
    async def test_whatever_is_not_json_counts_as_a_stream(self, content_type: str | None) -> None:
        assert await read(await opened(answer(frames(1), content_type=content_type))) == [b"1"]

    async def test_json_is_a_whole_reply(self) -> None:
        call, reply = await client(whole(OK))[0].open(STREAM, CALLER)
        assert isinstance(reply, Reply)
        assert (call, reply.body) == (STREAM, {"response": "hello"})

    async def test_a_call_that_asks_for_none_is_run(self) -> None:
        workers, transport, _ = client(whole(OK))
        _, reply = await workers.open(RUN, CALLER)
        assert isinstance(reply, Reply)
        assert transport.requests[0].extensions["timeout"]["read"] == 600

    async def test_the_first_event_is_waited_for(self) -> None:
        gate = asyncio.Event()
        response = streamed(b": waiting\n\n", gate, frames("first"))
        task = asyncio.create_task(opened(response))
        async with asyncio.timeout(DEADLINE_SECONDS):
            await body_of(response).is_waiting.wait()
            assert not task.done()
            gate.set()
            assert (await task).first == [b'"first"']

    async def test_a_tail_without_its_blank_line_comes_out(self) -> None:
        assert await read(await opened(streamed(frames(1), b'data: {"resp'))) == [b"1", b'{"resp']

    @pytest.mark.parametrize(
        "frame",
        [
            {"error": {"message": "broke"}},
            {"errors": [{"code": 8004, "message": "broke"}]},
            {"success": False, "errors": []},
            {"state": "Failed", "error": "broke"},
        ],
    )
    async def test_a_failure_after_events_follows_them(self, frame: Any) -> None:
        body = frames({"response": "a"}) + frames({"response": "b"}, frame, {"response": "c"})
        for response in (streamed(body), streamed(*(body[i : i + 1] for i in range(len(body))))):
            events, seen = await opened(response), list[bytes]()
            with pytest.raises(Failure) as caught:
                await read_into(seen, events)
            assert seen == [b'{"response":"a"}', b'{"response":"b"}']
            assert caught.value.kind is FailureKind.SERVER
            assert await events.next() == []

    async def test_words_about_errors_are_no_failure(self) -> None:
        said = [{"response": '{"error": "x", "success": false, "Failed"}'}, {"errors": [], "success": True}, ["error"]]
        broken = b'data: {"error\n\n'
        assert await read(await opened(streamed(frames(*said) + broken))) == [*map(orjson.dumps, said), b'{"error']

    async def test_one_that_breaks_off_is_broken_after_its_events(self) -> None:
        response = streamed(frames("a"), httpx2.RemoteProtocolError("gone"), frames("b"))
        workers, transport, _ = client(response)
        _, events = await workers.open(STREAM, CALLER)
        assert isinstance(events, Events)
        with pytest.raises(Failure) as caught:
            await events.next()
        assert caught.value.kind is FailureKind.BROKEN
        assert len(transport.requests) == 1
        assert await events.next() == []

    async def test_an_event_without_end_is_given_up(self) -> None:
        events = await opened(streamed(frames("a"), *[b"x" * 2**20] * 17, b"\n\n" + frames("b")))
        with pytest.raises(Failure, match="without an end"):
            await events.next()
        assert await events.next() == []

    async def test_closing_ends_the_answer(self) -> None:
        response = streamed(frames("a"), frames("b", {"error": "no"}), frames("c"))
        events = await opened(response)
        await events.next()
        await events.aclose()
        assert body_of(response).closed.is_set()
        assert await events.next() == []

    async def test_it_can_be_closed_while_it_is_read(self) -> None:
        response = streamed(frames("a"), asyncio.Event())
        events = await opened(response)
        task = asyncio.create_task(read(events))
        async with asyncio.timeout(DEADLINE_SECONDS):
            await body_of(response).is_waiting.wait()
            await events.aclose()
            assert body_of(response).closed.is_set()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


class TestRetries:
    @pytest.mark.parametrize(
        ("outcome", "kind", "tries"),
        [
            (lambda: failed(*BUSY), FailureKind.CAPACITY, 3),
            (lambda: failed(3050, 429), FailureKind.CAPACITY, 3),
            (lambda: failed(1031, 500), FailureKind.SERVER, 3),
            (lambda: answer(b"<html>", status=502, content_type="text/html"), FailureKind.SERVER, 3),
            (lambda: answer(b"", status=408), FailureKind.TIMEOUT, 3),
            (lambda: answer(b"", status=409), FailureKind.SERVER, 3),
            (lambda: answer(b"", status=429), FailureKind.RATE_LIMIT, 3),
            (lambda: httpx2.ConnectError("refused"), FailureKind.CONNECTION, 3),
            (lambda: httpx2.ConnectTimeout("slow"), FailureKind.TIMEOUT, 3),
            (lambda: httpx2.RemoteProtocolError("gone"), FailureKind.BROKEN, 3),
            (lambda: answer(b"{", httpx2.ReadError("gone")), FailureKind.BROKEN, 3),
            (lambda: failed(3036, 429), FailureKind.QUOTA, 1),
            (lambda: failed(4006, 429), FailureKind.QUOTA, 1),
            (lambda: failed(10000, 401), FailureKind.AUTHENTICATION, 1),
            (lambda: failed(7003, 404), FailureKind.CONFIGURATION, 1),
            (lambda: failed(5007, 400), FailureKind.MODEL_NOT_FOUND, 1),
            (lambda: failed(5006, 400), FailureKind.BAD_REQUEST, 1),
            (lambda: failed(5021, 413), FailureKind.CONTEXT_LENGTH, 1),
            (lambda: httpx2.ReadTimeout("silent"), FailureKind.TIMEOUT, 1),
            (lambda: answer(b"{", httpx2.ReadTimeout("silent")), FailureKind.TIMEOUT, 1),
        ],
    )
    @pytest.mark.parametrize("call", [RUN, STREAM], ids=["run", "stream"])
    async def test_what_is_worth_it_is_tried_three_times(
        self, outcome: Callable[[], Any], kind: FailureKind, tries: int, call: Call
    ) -> None:
        outcomes = [outcome() for _ in range(tries)]
        workers, transport, sleeper = client(*outcomes)
        with pytest.raises(Failure) as caught:
            await workers.open(call, CALLER)
        assert caught.value.kind is kind
        assert (len(transport.requests), len(sleeper.waits)) == (tries, tries - 1)
        assert all(body_of(each).closed.is_set() for each in outcomes if isinstance(each, httpx2.Response))

    @pytest.mark.parametrize(
        "body",
        [
            frames({"errors": [{"code": 3040, "message": "no capacity"}]}),
            b": only a comment\n\n",
            b"",
            b"<html></html>",
        ],
        ids=["failure-frame", "comment", "nothing", "html"],
    )
    async def test_a_stream_that_fails_before_its_first_event_is_tried_again(self, body: bytes) -> None:
        bad = [streamed(body), streamed(httpx2.ReadError("gone"))]
        events = await opened(*bad, streamed(frames("a")))
        assert events.first == [b'"a"']
        assert all(body_of(response).closed.is_set() for response in bad)

    async def test_a_stream_that_stays_empty_is_a_failure(self) -> None:
        with pytest.raises(Failure, match="empty stream") as caught:
            await opened(*(streamed(b"") for _ in range(3)))
        assert caught.value.kind is FailureKind.BROKEN

    async def test_the_second_try_may_succeed(self) -> None:
        assert (await run(failed(*BUSY), whole(OK))).body == {"response": "hello"}

    @pytest.mark.parametrize(("max_tries", "waits"), [(1, []), (2, [0.5]), (4, [0.5, 1, 2])])
    async def test_waits_double(self, max_tries: int, waits: list[float]) -> None:
        workers, _, sleeper = client(*(failed(*BUSY) for _ in range(max_tries)), max_tries=max_tries)
        with pytest.raises(Failure):
            await workers.run(RUN, CALLER)
        assert sleeper.waits == [pytest.approx(wait, rel=0.25) for wait in waits]

    async def test_a_retry_after_is_honoured(self) -> None:
        workers, _, sleeper = client(failed(*BUSY, retry_after="7"), failed(*BUSY, retry_after="0"), whole(OK))
        await workers.run(RUN, CALLER)
        assert sleeper.waits == [7, pytest.approx(1, rel=0.25)]

    async def test_a_long_retry_after_is_left_to_the_client(self) -> None:
        seconds = int(LONGEST_WAIT_SECONDS) + 1
        workers, transport, sleeper = client(failed(*BUSY, retry_after=str(seconds)))
        with pytest.raises(Failure) as caught:
            await workers.run(RUN, CALLER)
        assert (caught.value.retry_after_seconds, len(transport.requests), sleeper.waits) == (seconds, 1, [])

    async def test_a_wait_past_the_deadline_is_left_to_the_client(self) -> None:
        workers, _, sleeper = client(failed(*BUSY, retry_after="10"), request_timeout_seconds=9)
        with pytest.raises(Failure) as caught:
            await workers.run(RUN, CALLER)
        assert (caught.value.kind, caught.value.retry_after_seconds, sleeper.waits) == (FailureKind.CAPACITY, 10, [])

    async def test_the_deadline_ends_a_wait(self) -> None:
        with pytest.raises(Failure) as caught:
            await run(failed(*BUSY), request_timeout_seconds=0.7, sleep=never)
        assert caught.value.kind is FailureKind.TIMEOUT

    async def test_the_deadline_ends_a_request(self) -> None:
        with pytest.raises(Failure) as caught:
            await run(never, request_timeout_seconds=0.01)
        assert caught.value.kind is FailureKind.TIMEOUT

    @pytest.mark.parametrize("response", [lambda: answer(b"{", asyncio.Event()), lambda: streamed(asyncio.Event())])
    async def test_the_deadline_ends_an_answer_before_its_first_event(
        self, response: Callable[[], httpx2.Response]
    ) -> None:
        silent = response()
        with pytest.raises(Failure) as caught:
            await opened(silent, request_timeout_seconds=0.01)
        assert caught.value.kind is FailureKind.TIMEOUT
        assert body_of(silent).closed.is_set()

    async def test_the_deadline_is_none_of_the_events_after_the_first(self) -> None:
        gate = asyncio.Event()
        events = await opened(streamed(frames("a"), gate, frames("b")), request_timeout_seconds=0.01)
        asyncio.get_running_loop().call_later(0.05, gate.set)
        assert await read(events) == [b'"a"', b'"b"']


class TestCancellation:
    async def test_in_a_wait(self) -> None:
        is_waiting = asyncio.Event()

        async def sleep(_: float) -> None:
            is_waiting.set()
            await asyncio.Event().wait()

        workers, transport, _ = client(failed(*BUSY), sleep=sleep)
        await cancelled(workers.run(RUN, CALLER), is_waiting)
        assert len(transport.requests) == 1

    @pytest.mark.parametrize("call", [RUN, STREAM], ids=["run", "stream"])
    async def test_before_the_answer(self, call: Call) -> None:
        is_asked = asyncio.Event()

        async def hang(request: httpx2.Request) -> httpx2.Response:
            is_asked.set()
            return await never(request)

        workers, transport, _ = client(hang)
        await cancelled(workers.open(call, CALLER), is_asked)
        assert len(transport.requests) == 1

    @pytest.mark.parametrize("response", [lambda: answer(b"{", asyncio.Event()), lambda: streamed(asyncio.Event())])
    async def test_in_an_answer_closes_it(self, response: Callable[[], httpx2.Response]) -> None:
        silent = response()
        await cancelled(opened(silent), body_of(silent).is_waiting)
        assert body_of(silent).closed.is_set()


class TestSecondCalls:
    OTHER = Call(MODEL, f"run/{MODEL}", {"prompt": "other"})

    def again(self, seen: list[Any], changed: Call | None) -> Callable[[Call, Reply | Failure], Call | None]:
        def decide(call: Call, outcome: Reply | Failure) -> Call | None:
            seen.append((call, outcome.kind if isinstance(outcome, Failure) else outcome.body))
            return changed

        return decide

    async def test_a_failure_may_be_mended(self) -> None:
        workers, transport, _ = client(failed(5021, 413), whole(OK))
        seen: list[Any] = []
        call, reply = await workers.run(RUN, CALLER, self.again(seen, self.OTHER))
        assert (call, reply.body) == (self.OTHER, {"response": "hello"})
        assert seen == [(RUN, FailureKind.CONTEXT_LENGTH)]
        assert transport.bodies == [{"prompt": "hi"}, {"prompt": "other"}]

    async def test_a_reply_may_be_mended(self) -> None:
        workers, transport, _ = client(whole({}), streamed(frames("a")))
        seen: list[Any] = []
        call, events = await workers.open(STREAM, CALLER, self.again(seen, replace(self.OTHER, stream=True)))
        assert isinstance(events, Events)
        assert (call.body, events.first, seen) == ({"prompt": "other"}, [b'"a"'], [(STREAM, {})])
        assert len(transport.requests) == 2

    async def test_what_need_not_be_mended_is_left(self) -> None:
        seen: list[Any] = []
        workers, _, _ = client(whole(OK), failed(5007, 400))
        call, _reply = await workers.run(RUN, CALLER, self.again(seen, None))
        assert call is RUN
        with pytest.raises(Failure):
            await workers.run(RUN, CALLER, self.again(seen, None))
        assert seen == [(RUN, {"response": "hello"}), (RUN, FailureKind.MODEL_NOT_FOUND)]

    async def test_events_are_not_mended(self) -> None:
        seen: list[Any] = []
        call, _events = await client(streamed(frames("a")))[0].open(STREAM, CALLER, self.again(seen, self.OTHER))
        assert (call, seen) == (STREAM, [])

    async def test_the_second_call_is_the_last(self) -> None:
        seen: list[Any] = []
        workers, transport, sleeper = client(failed(5021, 413), failed(*BUSY), failed(5021, 413))
        with pytest.raises(Failure) as caught:
            await workers.run(RUN, CALLER, self.again(seen, self.OTHER))
        assert caught.value.kind is FailureKind.CONTEXT_LENGTH
        assert (len(transport.requests), len(sleeper.waits), len(seen)) == (3, 1, 1)

    async def test_both_calls_have_one_deadline(self) -> None:
        async def slow(_: httpx2.Request) -> httpx2.Response:
            await asyncio.sleep(0.2)
            return failed(5021, 413)

        workers, transport, sleeper = client(slow, failed(*BUSY, retry_after="10"), request_timeout_seconds=10.1)
        with pytest.raises(Failure) as caught:
            await workers.run(RUN, CALLER, self.again([], self.OTHER))
        assert caught.value.kind is FailureKind.CAPACITY
        assert (len(transport.requests), sleeper.waits) == (2, [])


class TestRaw:
    @staticmethod
    async def asked(response: Any, **options: Any) -> tuple[Raw, httpx2.Request]:
        workers, transport, _ = client(response, **options)
        call = Call(MODEL, f"run/{MODEL}?queueRequest=true", {}, content=b"RIFF", content_type="audio/wav")
        raw = await workers.listen(call, CALLER)
        return raw, transport.requests[0]

    async def test_a_body_goes_as_it_is(self) -> None:
        _, request = await self.asked(whole(OK))
        assert (request.method, str(request.url)) == ("POST", f"{BASE}/run/{MODEL}?queueRequest=true")
        assert (request.headers["content-type"], request.content) == ("audio/wav", b"RIFF")

    async def test_json_comes_whole_with_its_envelope(self) -> None:
        response = whole(OK, cf_ai_neurons="2")
        raw, _ = await self.asked(response)
        assert (raw.content_type, raw.body, raw.neurons) == (b"application/json", orjson.dumps(OK), 2)
        assert body_of(response).closed.is_set()

    async def test_anything_else_comes_piece_by_piece(self) -> None:
        response = answer(b"ID3", b"\x00", content_type="audio/mpeg")
        raw, _ = await self.asked(response)
        assert (raw.content_type, raw.body) == (b"audio/mpeg", None)
        assert [piece async for piece in raw] == [b"ID3", b"\x00"]
        assert body_of(response).closed.is_set()

    async def test_an_answer_that_breaks_off_is_a_failure(self) -> None:
        response = answer(b"ID3", httpx2.ReadError("gone"), content_type="audio/mpeg")
        raw, _ = await self.asked(response)
        pieces = aiter(raw)
        assert await anext(pieces) == b"ID3"
        with pytest.raises(Failure) as caught:
            await anext(pieces)
        assert caught.value.kind is FailureKind.BROKEN
        assert body_of(response).closed.is_set()

    @pytest.mark.parametrize(
        "response", [lambda: failed(5007, 400), lambda: failed(5007, 200)], ids=["by-status", "by-body"]
    )
    async def test_a_failure_is_raised(self, response: Callable[[], httpx2.Response]) -> None:
        refused = response()
        with pytest.raises(Failure) as caught:
            await self.asked(refused)
        assert caught.value.kind is FailureKind.MODEL_NOT_FOUND
        assert body_of(refused).closed.is_set()


class TestModels:
    async def test_pages_are_read_up_to_one_that_brings_nothing(self) -> None:
        rows = [{"name": f"@cf/a/{i}"} for i in range(5)]
        pages = [{"success": True, "result": page} for page in (rows[:3], [*rows[3:], "no row"], [])]
        workers, transport, _ = client(*map(whole, pages))
        assert await workers.models(ACCOUNT) == rows
        assert [(request.method, str(request.url), request.content) for request in transport.requests] == [
            ("GET", f"{BASE}/models/search?per_page=100&page={page}", b"") for page in (1, 2, 3)
        ]
        assert transport.requests[0].headers["authorization"] == "Bearer token-of-acc0"

    async def test_a_page_that_is_repeated_is_the_last(self) -> None:
        page = {"success": True, "result": [{"name": "@cf/a/b"}]}
        assert await client(whole(page), whole(page))[0].models(ACCOUNT) == [{"name": "@cf/a/b"}]

    async def test_pages_without_end_have_one(self) -> None:
        pages = [whole({"success": True, "result": [{"name": f"@cf/a/{i}"}]}) for i in range(MOST_PAGES)]
        assert len(await client(*pages)[0].models(ACCOUNT)) == MOST_PAGES

    async def test_what_is_no_list_is_an_empty_one(self) -> None:
        assert await client(whole({"success": True, "result": {"data": []}}))[0].models(ACCOUNT) == []

    async def test_failures_are_tried_again_and_raised(self) -> None:
        workers, transport, _ = client(failed(*BUSY), failed(10000, 403))
        with pytest.raises(Failure) as caught:
            await workers.models(ACCOUNT)
        assert (caught.value.kind, len(transport.requests)) == (FailureKind.AUTHENTICATION, 2)


REST = Gateway("gw")
AT_HOST = Gateway("gw", "gateway-token", "https://gateway.test/v1", "host")
DIRECT = f"{BASE}/run/{MODEL}"
WITH_RUN = f"https://gateway.test/v1/acc0/gw/workers-ai/run/{MODEL}"
BARE = f"https://gateway.test/v1/acc0/gw/workers-ai/{MODEL}"
NO_ROUTE = (7003, 404, "No route")
PAGE = httpx2.Response(503, content=b"<html>", headers={"content-type": "text/html"})


class TestGateway:
    """Which way a call takes, try by try."""

    @pytest.mark.parametrize(
        ("gateway", "goes_past", "outcomes", "urls", "kept"),
        [
            (None, True, [whole(OK)], [DIRECT], None),
            (REST, False, [whole(OK)], [DIRECT], REST),
            (REST, True, [PAGE, whole(OK)], [DIRECT, DIRECT], REST),
            (AT_HOST, True, [PAGE, whole(OK)], [WITH_RUN, DIRECT], AT_HOST),
            (AT_HOST, False, [failed(*NO_ROUTE), whole(OK)], [WITH_RUN, BARE], replace(AT_HOST, has_run=False)),
            (replace(AT_HOST, has_run=False), False, [failed(*NO_ROUTE), whole(OK)], [BARE, WITH_RUN], AT_HOST),
            (AT_HOST, True, [failed(*NO_ROUTE), PAGE, whole(OK)], [WITH_RUN, BARE, DIRECT], None),
        ],
    )
    async def test_a_call_gets_there(
        self, gateway: Gateway | None, outcomes: list[Any], urls: list[str], kept: Gateway | None, *, goes_past: bool
    ) -> None:
        options: dict[str, Any] = {"gateway": gateway, "goes_past_gateway": goes_past, "max_tries": 1}
        options["detour"] = Detour(rest_seconds=0)  # the next call sees at once how the gateway is
        workers, transport, _ = client(*outcomes, *([whole(OK)] if kept else []), **options)
        _, reply = await workers.run(RUN, CALLER)
        assert reply.body == {"response": "hello"}
        if kept:
            await workers.run(RUN, CALLER)
            urls = [*urls, {REST: DIRECT, AT_HOST: WITH_RUN}.get(kept, BARE)]
        assert [str(request.url) for request in transport.requests] == urls
        assert ["cf-aig-gateway-id" in request.headers for request in transport.requests][-1] is (kept is REST)

    async def test_a_gateway_that_was_down_is_tried_again_by_one_call_after_a_while(self) -> None:
        seconds = [0.0]
        detour = Detour(now=lambda: seconds[0])
        outcomes = [PAGE, whole(OK), whole(OK), failed(*BUSY), whole(OK), whole(OK)]
        options: dict[str, Any] = {"gateway": AT_HOST, "goes_past_gateway": True, "detour": detour}
        workers, transport, _ = client(*outcomes, **options)
        for after in (0, 1, 60):
            seconds[0] = after
            await workers.run(RUN, CALLER)
        urls = [str(request.url) for request in transport.requests]
        assert urls == [WITH_RUN, DIRECT, DIRECT, WITH_RUN, WITH_RUN]  # busy is the model's fault: it is up again

    @pytest.mark.parametrize(
        ("outcomes", "next_url"),
        [
            ([failed(*NO_ROUTE), failed(*NO_ROUTE)], WITH_RUN),
            ([failed(*NO_ROUTE), failed(5007, 404, "No such model")], BARE),
            ([failed(5007, 404, "No such model")], WITH_RUN),
        ],
    )
    async def test_a_path_is_kept_once_it_is_proven(self, outcomes: list[Any], next_url: str) -> None:
        workers, transport, _ = client(*outcomes, whole(OK), gateway=AT_HOST, max_tries=1)
        with pytest.raises(Failure):
            await workers.run(RUN, CALLER)
        await workers.run(RUN, CALLER)
        assert [str(request.url) for request in transport.requests][len(outcomes) :] == [next_url]

    @pytest.mark.parametrize(
        ("gateway", "path"), [(REST, f"run/{MODEL}"), (AT_HOST, "v1/chat/completions"), (None, f"run/{MODEL}")]
    )
    async def test_most_addresses_have_no_other_path(self, gateway: Gateway | None, path: str) -> None:
        workers, transport, _ = client(failed(*NO_ROUTE), gateway=gateway, goes_past_gateway=True, max_tries=1)
        with pytest.raises(Failure):
            await workers.run(replace(RUN, path=path), CALLER)
        assert len(transport.requests) == 1

    @pytest.mark.parametrize(("gateway", "name"), [(REST, MODEL), (AT_HOST, f"workers-ai/{MODEL}"), (None, MODEL)])
    async def test_a_model_of_the_unified_api_has_the_name_that_its_address_knows(
        self, gateway: Gateway | None, name: str
    ) -> None:
        call = Call(f"workers-ai/{MODEL}", "v1/chat/completions", {"model": f"workers-ai/{MODEL}"})
        workers, transport, _ = client(whole(OK), gateway=gateway)
        await workers.run(call, CALLER)
        assert orjson.loads(transport.requests[0].content) == {"model": name}
        assert call.body == {"model": f"workers-ai/{MODEL}"}

    async def test_a_changed_call_is_not_answered_from_the_first_ones_place_in_the_cache(self) -> None:
        caller = replace(CALLER, gateway={"cf-aig-cache-key": "k"})
        workers, transport, _ = client(whole(OK), whole(OK), gateway=REST)
        await workers.run(RUN, caller, lambda call, _: replace(call, body={"prompt": "again"}))
        first, second = (request.headers["cf-aig-cache-key"] for request in transport.requests)
        assert first != second

    async def test_files_go_past_it_and_that_is_said_once(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "flarelay")
        call = replace(RUN, content=b"RIFF", content_type="audio/wav")
        workers, transport, _ = client(whole(OK), whole(OK), gateway=AT_HOST)
        for _ in range(2):
            await workers.run(call, CALLER)
        assert [str(request.url) for request in transport.requests] == [DIRECT, DIRECT]
        assert len(caplog.records) == 1


FIRST, SECOND, THIRD = (Account(name, f"token-of-{name}", ACCOUNT.base_url) for name in ("acc1", "acc2", "acc3"))
OWNER = Caller("owner", FIRST, (SECOND, THIRD))
SPENT = (4006, 429)
REFUSED = (10000, 401)
GONE = (7009, 502)


def paid(transport: Replaying) -> list[str]:
    """The accounts that were asked, in order."""
    return [request.url.path.split("/accounts/")[1].split("/")[0] for request in transport.requests]


class TestAccounts:
    @pytest.mark.parametrize("fault", [SPENT, REFUSED, GONE, BUSY[:2]])
    async def test_the_next_account_answers_at_once(self, fault: tuple[int, int]) -> None:
        workers, transport, sleeper = client(failed(*fault), whole(OK, cf_ai_neurons="2"))
        _, reply = await workers.run(RUN, OWNER)
        assert len(set(paid(transport))) == 2
        assert reply.origin.account == paid(transport)[1]
        assert sleeper.waits == []

    async def test_each_is_tried_once_before_anything_is_waited_for(self) -> None:
        workers, transport, sleeper = client(*(failed(*GONE) for _ in range(6)), max_tries=2)
        with pytest.raises(Failure):
            await workers.run(RUN, OWNER)
        assert [sorted(paid(transport)[i : i + 3]) for i in (0, 3)] == [["acc1", "acc2", "acc3"]] * 2
        assert len(sleeper.waits) == 1

    async def test_a_spent_account_is_left_alone(self) -> None:
        workers, transport, _ = client(failed(*SPENT), *(whole(OK) for _ in range(6)))
        for _ in range(6):
            await workers.run(RUN, OWNER)
        assert paid(transport).count(paid(transport)[0]) == 1

    async def test_when_all_are_spent_nobody_is_asked_any_more(self) -> None:
        workers, transport, _ = client(*(failed(*SPENT) for _ in range(3)))
        for _ in range(2):
            with pytest.raises(Failure) as raised:
                await workers.run(RUN, OWNER)
            assert raised.value.kind is FailureKind.QUOTA
            assert raised.value.retry_after_seconds is not None
        assert len(transport.requests) == 3

    @pytest.mark.parametrize("first", [SPENT, REFUSED])
    @pytest.mark.parametrize("turned", [False, True])
    async def test_an_account_that_is_only_busy_is_waited_for(self, first: tuple[int, int], turned: bool) -> None:
        """Whatever is wrong with the other."""
        faults = [failed(*BUSY), failed(*first)] if turned else [failed(*first), failed(*BUSY)]
        workers, transport, sleeper = client(*faults, whole(OK))
        _, reply = await workers.run(RUN, Caller("owner", FIRST, (SECOND,)))
        assert reply.body == {"response": "hello"}
        assert len(sleeper.waits) == 1
        assert paid(transport)[2] == paid(transport)[0 if turned else 1]

    async def test_what_is_told_is_the_failure_that_may_pass(self) -> None:
        workers, _, _ = client(failed(*BUSY), failed(*SPENT), max_tries=1)
        with pytest.raises(Failure) as raised:
            await workers.run(RUN, Caller("owner", FIRST, (SECOND,)))
        assert raised.value.kind is FailureKind.CAPACITY

    async def test_a_client_error_is_told_at_once(self) -> None:
        workers, transport, _ = client(failed(5006, 400))
        with pytest.raises(Failure):
            await workers.run(RUN, OWNER)
        assert len(transport.requests) == 1

    async def test_equal_affinities_meet_the_same_account(self) -> None:
        workers, transport, _ = client(*(whole(OK) for _ in range(20)))
        for turn in range(20):
            await workers.run(replace(RUN, affinity=f"session {turn % 10}"), OWNER)
        asked = paid(transport)
        assert asked[:10] == asked[10:]
        assert len(set(asked)) > 1

    async def test_a_stream_moves_on_before_its_first_event(self) -> None:
        failing = frames({"errors": [{"code": 3040, "message": "AiError: no"}]})
        workers, transport, sleeper = client(streamed(failing), streamed(frames({"response": "hi"})))
        _, events = await workers.open(STREAM, OWNER)
        assert isinstance(events, Events)
        assert await read(events) == [b'{"response":"hi"}']
        assert len(set(paid(transport))) == 2
        assert events.origin.account == paid(transport)[1]
        assert sleeper.waits == []


class TestLeases:
    """Counted by the accounts: what is never given back would make one look busy for ever."""

    async def test_a_whole_answer_holds_one_while_it_comes(self) -> None:
        accounts, more = Accounts(), asyncio.Event()
        response = answer(more, b'{"result": 1, "success": true}')
        workers, _, _ = client(response, accounts=accounts)
        task = asyncio.create_task(workers.run(RUN, CALLER))
        async with asyncio.timeout(DEADLINE_SECONDS):
            await body_of(response).is_waiting.wait()
            assert accounts.running(ACCOUNT) == 1
            more.set()
            await task
        assert accounts.running(ACCOUNT) == 0

    async def test_a_stream_holds_one_up_to_its_end(self) -> None:
        accounts = Accounts()
        workers, _, _ = client(streamed(frames({"response": "a"}), frames({"response": "b"})), accounts=accounts)
        _, events = await workers.open(STREAM, CALLER)
        assert isinstance(events, Events)
        assert accounts.running(ACCOUNT) == 1
        await read(events)
        assert accounts.running(ACCOUNT) == 0
        await events.aclose()
        assert accounts.running(ACCOUNT) == 0

    async def test_a_stream_that_is_closed_early_gives_it_back_once(self) -> None:
        accounts = Accounts()
        answers = [streamed(frames({"response": "a"}), asyncio.Event()) for _ in range(2)]
        workers, _, _ = client(*answers, accounts=accounts)
        opened = [(await workers.open(STREAM, CALLER))[1] for _ in range(2)]
        first, second = (each for each in opened if isinstance(each, Events))
        for _ in range(2):
            await first.aclose()
            assert accounts.running(ACCOUNT) == 1
        await second.aclose()
        assert accounts.running(ACCOUNT) == 0

    @pytest.mark.parametrize("fails", [lambda: failed(5006, 400), lambda: httpx2.ReadTimeout("")])
    @pytest.mark.parametrize("method", ["run", "open", "listen"])
    async def test_a_failure_gives_it_back(self, method: str, fails: Callable[[], Any]) -> None:
        accounts = Accounts()
        workers, _, _ = client(fails(), accounts=accounts, max_tries=1)
        with pytest.raises(Failure):
            await getattr(workers, method)(STREAM, CALLER)
        assert accounts.running(ACCOUNT) == 0

    @pytest.mark.parametrize("method", ["run", "open", "listen"])
    async def test_a_body_that_breaks_off_gives_it_back(self, method: str) -> None:
        accounts = Accounts()
        workers, _, _ = client(answer(b"{", httpx2.ReadError("gone")), accounts=accounts, max_tries=1)
        with pytest.raises(Failure):
            await getattr(workers, method)(RUN, CALLER)
        assert accounts.running(ACCOUNT) == 0

    @pytest.mark.parametrize("method", ["run", "open", "listen"])
    @pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
    async def test_whoever_leaves_gives_it_back(self, method: str, content_type: str) -> None:
        accounts = Accounts()
        response = answer(b"{", asyncio.Event(), content_type=content_type)
        body = body_of(response)
        workers, _, _ = client(response, accounts=accounts)

        async def read_all() -> None:
            found = await getattr(workers, method)(STREAM, CALLER)
            async with contextlib.aclosing(aiter(found)) as pieces:
                async for _ in pieces:
                    pass

        await cancelled(read_all(), body.is_waiting)
        assert accounts.running(ACCOUNT) == 0
        assert body.closed.is_set()

    async def test_an_answer_as_it_comes_holds_one_until_it_is_closed(self) -> None:
        accounts = Accounts()
        sound = answer(b"sound", content_type="audio/mpeg")
        workers, _, _ = client(sound, whole(OK), accounts=accounts)
        raw = await workers.listen(RUN, CALLER)
        assert accounts.running(ACCOUNT) == 1
        assert [piece async for piece in raw] == [b"sound"]
        assert accounts.running(ACCOUNT) == 0
        whole_answer = await workers.listen(RUN, CALLER)
        assert accounts.running(ACCOUNT) == 0
        await whole_answer.aclose()
        assert accounts.running(ACCOUNT) == 0


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
A, B, C = (frames({"response": text}) for text in "abc")
BAD = frames({"errors": [{"code": 3040, "message": "no"}], "success": False})


def chunked(*pieces: bytes) -> list[Step]:
    """Each by itself, once the test says so."""
    steps: list[Step] = [ask, CHUNKED, b"%x\r\n%b\r\n" % (len(A), A), wait]
    for piece in pieces:
        steps += [b"%x\r\n%b\r\n" % (len(piece), piece), pause]
    return steps


class TestPassingOn:
    """Events that come while the next ones are waited for."""

    @contextlib.asynccontextmanager
    async def passed(
        self, script: list[Step], give: Callable[[list[bytes]], None], is_ready: Callable[[], bool] = lambda: True
    ) -> AsyncIterator[Events]:
        async with serving(script) as server, Transport() as transport:
            account = replace(ACCOUNT, base_url=server.url)
            _, events = await WorkersAI(transport).open(STREAM, Caller("tester", account))
            assert isinstance(events, Events)
            assert events.first == [b'{"response":"a"}']
            events.pass_on(lambda: True, is_ready, give)
            server.go.set()
            try:
                yield events
            finally:
                await events.aclose()

    async def test_they_are_given_away_without_waking_who_waits(self) -> None:
        given: list[list[bytes]] = []
        script = chunked(B[:5], B[5:] + C[:3], C[3:], C + C)
        async with self.passed([*script, b"0\r\n\r\n"], given.append) as events:
            assert await events.next() == []
        said_b, said_c = b'{"response":"b"}', b'{"response":"c"}'
        assert given == [[said_b], [said_c], [said_c, said_c]]

    async def test_what_nobody_can_take_is_for_who_waits(self) -> None:
        given: list[list[bytes]] = []
        answers = iter([False, True])
        async with self.passed([*chunked(B, C), b"0\r\n\r\n"], given.append, lambda: next(answers)) as events:
            assert await events.next() == [b'{"response":"b"}']
            assert await events.next() == []
        assert given == [[b'{"response":"c"}']]

    async def test_an_event_that_the_end_leaves_unfinished_is_for_who_waits(self) -> None:
        given: list[list[bytes]] = []
        async with self.passed([*chunked(B + C[:-1]), b"0\r\n\r\n"], given.append) as events:
            assert await events.next() == [b'{"response":"c"}']
        assert given == [[b'{"response":"b"}']]

    @pytest.mark.parametrize("pieces", [(B + C + BAD + A,), (B, C, BAD)])
    async def test_a_failure_comes_behind_the_events_before_it(self, pieces: tuple[bytes, ...]) -> None:
        given: list[bytes] = []
        async with self.passed(chunked(*pieces), given.extend) as events:
            with pytest.raises(Failure) as caught:
                await events.next()
            assert (caught.value.kind, caught.value.account) == (FailureKind.CAPACITY, "acc0")
            assert await events.next() == []
        assert given == [b'{"response":"b"}', b'{"response":"c"}']

    async def test_an_event_without_an_end(self) -> None:
        async with self.passed(chunked(b"x" * (LARGEST_EVENT + 1)), lambda _: None) as events:
            with pytest.raises(Failure, match="an event without an end"):
                await events.next()
            assert await events.next() == []

    @pytest.mark.parametrize("fault", [KeyError("ours"), ValueError("ours"), Failure(FailureKind.BROKEN, "ours")])
    async def test_a_fault_of_who_gets_them_is_no_fault_of_cloudflare(self, fault: Exception) -> None:
        def give(_events: list[bytes]) -> None:
            raise fault

        async with self.passed(chunked(B), give) as events:
            with pytest.raises(type(fault)) as caught:
                await events.next()
            assert caught.value is fault

    async def test_other_transports_wake_who_waits(self) -> None:
        events, given = await opened(streamed(A, B)), list[list[bytes]]()
        events.pass_on(lambda: True, lambda: True, given.append)
        assert await read(events) == [b'{"response":"a"}', b'{"response":"b"}']
        assert given == []

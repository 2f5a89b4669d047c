"""The relay, with the real catalogue and chat translator, over a transport that replays answers."""

import asyncio
import gc
import io
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, ClassVar

import httpx2
import orjson
import pytest
from PIL import Image

from app.calls import Account, Call, Caller, Failure, Limits, Usage
from app.catalog import Catalog
from app.errors import APIStatusError, BadRequestError, NotFoundError
from app.media.loader import PictureLoader
from app.media.remote import RemoteFetcher
from app.planning import Planning
from app.relay import Relay, Stream
from app.schemas.chat import ChatCompletionRequest
from app.translators.base import no_stream
from app.translators.chat import chat
from app.upstream.client import WorkersAI
from app.upstream.transport import Transport
from tests.upstream.replaying import (
    ACCOUNT,
    DEADLINE_SECONDS,
    Outcome,
    Replaying,
    Sleeper,
    body_of,
    cancelled,
    failed,
    frames,
    never,
    streamed,
    whole,
)
from tests.upstream.scripted import Step, ask, pause, serving, wait

pytestmark = pytest.mark.anyio

CALLER = Caller("key1", ACCOUNT)
STRANGER = Caller("key2", replace(ACCOUNT, is_ours=False))

NATIVE = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
BLIND = "@cf/zai-org/glm-4.7-flash"
SEEING = "@cf/google/gemma-4-26b-a4b-it"

ALIASES: dict[str, str | dict[str, str]] = {
    "mine": NATIVE,
    "eyes": {"model": BLIND, "reasoning_effort": "none", "picture_model": SEEING},
}
HELLO = {"response": "hello", "usage": {"prompt_tokens": 2000, "completion_tokens": 1000, "total_tokens": 3000}}
NEURONS = (2000 * 26668 + 1000 * 204805) / 1e6
DONE = b"data: [DONE]\n\n"
SECRET = "token-of-acc0"


@pytest.fixture(autouse=True)
async def _no_task_is_left() -> AsyncGenerator[None]:
    yield
    left = [task.get_coro() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert [job for job in left if not str(job).startswith("<coroutine object TestRunner.")] == []


class Web(RemoteFetcher):
    """Has a picture at every address but those with `missing`."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    async def fetch(self, url: str, *, param: str | None = None) -> bytes:
        self.fetched.append(url)
        if "missing" in url:
            raise BadRequestError("There is none.", param=param)
        picture = io.BytesIO()
        Image.new("RGB", (3000, 3)).save(picture, "PNG")
        return picture.getvalue()


def relay(*outcomes: Outcome, default_max_tokens: int | None = None, **options: Any) -> tuple[Relay, Replaying, Web]:
    transport, web, catalog = Replaying(*outcomes), Web(), Catalog.load(ALIASES)
    upstream = WorkersAI(transport, sleep=Sleeper())
    planning = Planning(catalog, upstream, PictureLoader(web), default_max_tokens=default_max_tokens)
    return Relay(catalog, upstream, planning, **options), transport, web


def asking(content: Any = "hi", **fields: Any) -> ChatCompletionRequest:
    return ChatCompletionRequest.model_validate(
        {"messages": [{"role": "user", "content": content}]} | fields | {"model": "-"}
    )


async def streaming(
    *outcomes: Outcome, model: str = NATIVE, caller: Caller = CALLER, **fields: Any
) -> tuple[Stream, Replaying]:
    relays, transport, _ = relay(*outcomes)
    return await relays.stream(chat, model, asking(stream=True, **fields), caller), transport


async def read(stream: Stream) -> list[Any]:
    """What the client gets, event by event."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        sent = b"".join([chunk async for chunk in stream.chunks])
    events = [event.removeprefix(b"data: ") for event in sent.split(b"\n\n")[:-1]]
    return [event if event == b"[DONE]" else orjson.loads(event) for event in events]


def text_of(events: list[Any], choice: int = 0) -> str:
    choices = [each for event in events if event != b"[DONE]" for each in event["choices"]]
    return "".join(each["delta"].get("content", "") for each in choices if each["index"] == choice)


def finishes(events: list[Any]) -> list[str]:
    choices = [each for event in events if event != b"[DONE]" for each in event["choices"]]
    return [each["finish_reason"] for each in choices if each["finish_reason"]]


def is_closed(response: httpx2.Response) -> bool:
    return body_of(response).closed.is_set()


class TestFallbacks:
    FALLBACKS: ClassVar[dict[str, tuple[str, ...]]] = {"mine": ("eyes", SEEING)}
    BUSY = (3040, 429)

    async def test_the_first_that_can_answers_under_the_name_that_was_asked_for(self) -> None:
        completion = {"choices": [{"index": 0, "message": {"content": "hello"}, "finish_reason": "stop"}]}
        relays, transport, _ = relay(
            *(failed(*self.BUSY) for _ in range(3)), whole(completion), fallbacks=self.FALLBACKS
        )
        answered = await relays.complete(chat, "mine", asking(), CALLER)
        assert (answered.body["model"], answered.plan.context.model.id) == ("mine", BLIND)
        assert len(transport.requests) == 4

    async def test_the_last_ones_failure_is_told(self) -> None:
        relays, transport, _ = relay(*(failed(*self.BUSY) for _ in range(9)), fallbacks=self.FALLBACKS)
        with pytest.raises(APIStatusError) as raised:
            await relays.stream(chat, "mine", asking(stream=True), CALLER)
        assert raised.value.code == "overloaded"
        assert len(transport.requests) == 9

    @pytest.mark.parametrize(("code", "status"), [(5006, 400), (4006, 429), (10000, 401)])
    async def test_some_failures_another_model_would_have_too(self, code: int, status: int) -> None:
        relays, transport, _ = relay(failed(code, status), fallbacks=self.FALLBACKS)
        with pytest.raises(APIStatusError):
            await relays.complete(chat, "mine", asking(), CALLER)
        assert len(transport.requests) == 1

    async def test_all_of_them_have_the_time_of_one_request(self) -> None:
        relays, transport, _ = relay(
            *(failed(*self.BUSY) for _ in range(3)), never, fallbacks=self.FALLBACKS, request_timeout_seconds=0.05
        )
        with pytest.raises(APIStatusError) as raised:
            await relays.complete(chat, "mine", asking(), CALLER)
        assert (raised.value.status, raised.value.code) == (504, "upstream_timeout")
        assert len(transport.requests) == 4


class TestComplete:
    async def test_calls_run_together(self) -> None:
        everybody = asyncio.Barrier(3)

        async def together(_: httpx2.Request) -> httpx2.Response:
            await everybody.wait()
            return whole(HELLO)

        relays, transport, _ = relay(together, together, together)
        async with asyncio.timeout(DEADLINE_SECONDS):
            answered = await relays.complete(chat, "mine", asking(n=3, seed=7), CALLER)
        assert [choice["index"] for choice in answered.body["choices"]] == [0, 1, 2]
        assert sorted(body["seed"] for body in transport.bodies) == [7, 8, 9]

    @pytest.mark.parametrize(
        ("result", "usage"),
        [
            (HELLO, Usage(2000, 1000, neurons=NEURONS, is_priced=True)),
            (HELLO | {"usage": HELLO["usage"] | {"neurons": 0.5}}, Usage(2000, 1000, neurons=0.5)),  # type: ignore[operator]
        ],
    )
    async def test_usage_has_the_price_of_the_catalogue_unless_they_tell_the_charge(
        self, result: Any, usage: Usage
    ) -> None:
        answered = await relay(whole(result))[0].complete(chat, "mine", asking(), CALLER)
        assert answered.usage == usage

    async def test_a_model_without_a_price_costs_nobody_knows_what(self) -> None:
        answered = await relay(whole(HELLO))[0].complete(chat, "@cf/some/new-model", asking(), CALLER)
        assert answered.usage == Usage(2000, 1000)

    async def test_a_call_is_mended_once_and_read_as_it_was_sent(self) -> None:
        too_long = "AiError: This model's maximum context length is 5000 tokens. However, you requested 5600 tokens."
        cut = {"response": "hello", "usage": {"prompt_tokens": 900, "completion_tokens": 3936, "total_tokens": 4836}}
        relays, transport, _ = relay(failed(5021, 413, too_long), whole(cut))
        answered = await relays.complete(chat, "mine", asking(max_tokens=4600), CALLER)
        assert [body["max_tokens"] for body in transport.bodies] == [4600, 3936]
        assert [call.body["max_tokens"] for call in answered.plan.calls] == [3936]
        assert answered.body["choices"][0]["finish_reason"] == "length"

    async def test_a_call_is_not_mended_twice(self) -> None:
        too_long = "AiError: This model's maximum context length is 5000 tokens. However, you requested 5600 tokens."
        relays, transport, _ = relay(failed(5021, 413, too_long), failed(5021, 413, too_long))
        with pytest.raises(BadRequestError) as caught:
            await relays.complete(chat, "mine", asking(max_tokens=4600), CALLER)
        assert caught.value.code == "context_length_exceeded"
        assert len(transport.requests) == 2

    async def test_an_answer_that_makes_no_sense_is_an_error(self) -> None:
        with pytest.raises(APIStatusError) as caught:
            await relay(whole({"nothing": True}))[0].complete(chat, "mine", asking(), CALLER)
        assert (caught.value.status, caught.value.code) == (502, "upstream_error")


class TestFailures:
    @pytest.mark.parametrize(
        ("failure", "caller", "status", "code", "is_loud"),
        [
            ((10000, 401), CALLER, 503, "upstream_auth", True),
            ((10000, 401), STRANGER, 401, "invalid_api_key", False),
            ((7003, 404), CALLER, 503, "upstream_configuration", True),
            ((7003, 404), STRANGER, 404, "account_not_found", False),
            ((3023, 403), CALLER, 503, "upstream_auth", True),
            ((3023, 403), STRANGER, 403, "account_blocked", False),
            ((4006, 429), CALLER, 429, "daily_limit_reached", False),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    async def test_faults_of_our_account_are_ours_and_loud(
        self,
        failure: tuple[int, int],
        caller: Caller,
        status: int,
        code: str,
        is_loud: bool,
        stream: bool,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        message = f"Invalid request for account, Bearer {SECRET}"
        relays = relay(failed(*failure, message))[0]
        with pytest.raises(APIStatusError) as caught:
            await (relays.stream if stream else relays.complete)(chat, "mine", asking(stream=stream), caller)
        assert (caught.value.status, caught.value.code) == (status, code)
        message = "Cloudflare refuses the server's own account"
        loud = [record for record in caplog.records if record.message == message]
        assert len(loud) == is_loud
        for record in loud:
            assert record.levelno == logging.ERROR
            assert record.__dict__["fields"]["account"] == "acc0"
            assert record.__dict__["fields"]["code"] == failure[0]

    async def test_no_token_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        token = "v1.0-0123456789abcdef0123456789abcdef"
        caller = Caller("key", Account("acc0", token, ACCOUNT.base_url))
        with pytest.raises(APIStatusError) as caught:
            await relay(failed(10000, 401, f"Bearer {token}"))[0].complete(chat, "mine", asking(), caller)
        assert token not in f"{[record.__dict__ for record in caplog.records]} {caught.value.message}"
        assert caplog.records


class TestRun:
    @pytest.mark.parametrize(
        ("name", "query", "path"),
        [
            (NATIVE, "", f"/run/{NATIVE}"),
            ("mine", "a=b", f"/run/{NATIVE}?a=b"),
            ("@cf/meta/llama-3-8b-instruct", "", "/run/@cf/meta/llama-3-8b-instruct"),
        ],
        ids=["id", "alias", "retired"],
    )
    async def test_a_name_leads_to_a_model_that_is_run_as_it_is(self, name: str, query: str, path: str) -> None:
        relays, transport, _ = relay(whole(HELLO))
        model, raw = await relays.run(name, query, "text/plain", b"body", CALLER)
        (request,) = transport.requests
        assert str(request.url) == f"{ACCOUNT.base_url}/accounts/acc0/ai{path}"
        assert request.content == b"body"
        assert (f"/run/{model.id}" in path, raw.body) == (True, orjson.dumps(HELLO))

    async def test_a_failure_is_an_error(self) -> None:
        with pytest.raises(APIStatusError) as caught:
            await relay(failed(10000, 401))[0].run(NATIVE, "", "text/plain", b"body", STRANGER)
        assert caught.value.status == 401

    async def test_a_key_may_be_for_some_models(self) -> None:
        relays, transport, _ = relay(whole(HELLO))
        caller = replace(CALLER, limits=Limits(models=("mine",)))
        for name in (NATIVE, BLIND):
            with pytest.raises(NotFoundError):
                await relays.run(name, "", "application/json", b"{}", caller)
        _, raw = await relays.run("mine", "", "application/json", b"{}", caller)
        await raw.aclose()
        assert len(transport.requests) == 1


class TestStream:
    async def test_it_is_there_with_its_first_event(self) -> None:
        gate = asyncio.Event()
        response = streamed(b": working\n\n", gate, frames({"response": "a"}), DONE)
        task = asyncio.create_task(streaming(response))
        async with asyncio.timeout(DEADLINE_SECONDS):
            await body_of(response).is_waiting.wait()
            assert not task.done()
            gate.set()
            stream, _ = await task
        assert text_of(await read(stream)) == "a"

    async def test_it_is_the_answer_event_by_event(self) -> None:
        response = streamed(
            frames({"response": "hel"}), frames({"response": "lo"}), frames(HELLO | {"response": ""}), DONE
        )
        stream, transport = await streaming(response, stream_options={"include_usage": True})
        assert transport.bodies[0]["stream"] is True
        events = await read(stream)
        assert (text_of(events), finishes(events), events[-1]) == ("hello", ["stop"], b"[DONE]")
        assert events[-2]["usage"]["total_tokens"] == 3000
        assert stream.usage == Usage(2000, 1000, neurons=NEURONS, is_priced=True)
        assert stream.plan.context.model.id == NATIVE
        assert is_closed(response)

    async def test_events_that_hold_nothing_send_nothing(self) -> None:
        stream, _ = await streaming(streamed(frames({"response": "a"}), frames({"response": ""}), DONE))
        assert all([chunk async for chunk in stream.chunks])

    async def test_a_whole_reply_is_replayed(self) -> None:
        stream, _ = await streaming(whole(HELLO))
        events = await read(stream)
        assert (text_of(events), finishes(events), events[-1]) == ("hello", ["stop"], b"[DONE]")
        assert stream.usage == Usage(2000, 1000, neurons=NEURONS, is_priced=True)

    async def test_an_empty_reply_is_asked_for_once_more_without_a_stream(self) -> None:
        stream, transport = await streaming(whole({"success": True, "result": {}}), whole(HELLO))
        assert [body["stream"] for body in transport.bodies] == [True, False]
        assert text_of(await read(stream)) == "hello"
        assert [call.stream for call in stream.plan.calls] == [False]

    async def test_a_call_is_read_as_it_was_sent(self) -> None:
        too_long = "AiError: This model's maximum context length is 5000 tokens. However, you requested 5600 tokens."
        usage = {"prompt_tokens": 900, "completion_tokens": 3936, "total_tokens": 4836}
        response = streamed(frames({"response": "a"}, {"response": "", "usage": usage}) + DONE)
        stream, _ = await streaming(failed(5021, 413, too_long), response, max_tokens=4600)
        assert finishes(await read(stream)) == ["length"]

    async def test_choices_come_in_one_stream(self) -> None:
        responses = [streamed(frames({"response": name}), frames({"response": name}), DONE) for name in "abc"]
        stream, _ = await streaming(*responses, n=3)
        events = await read(stream)
        assert sorted(text_of(events, choice) for choice in range(3)) == ["aa", "bb", "cc"]
        assert (finishes(events), events.count(b"[DONE]")) == (["stop"] * 3, 1)
        assert all(map(is_closed, responses))

    async def test_a_choice_may_come_whole(self) -> None:
        stream, _ = await streaming(
            whole(HELLO), streamed(frames({"response": "a"}), frames({"response": "b"}), DONE), n=2
        )
        events = await read(stream)
        assert sorted([text_of(events, 0), text_of(events, 1)]) == ["ab", "hello"]
        assert finishes(events) == ["stop", "stop"]

    async def test_a_failure_in_its_place_has_a_status(self) -> None:
        with pytest.raises(APIStatusError) as caught:
            await streaming(*(streamed(frames({"errors": [{"code": 3040, "message": "m"}]})) for _ in range(3)))
        assert (caught.value.status, caught.value.code) == (503, "overloaded")

    @pytest.mark.parametrize("first", [b"data: no json\n\n", b"data: 7\n\n"])
    async def test_a_first_event_that_makes_no_sense_has_a_status_too(self, first: bytes) -> None:
        response = streamed(first, asyncio.Event())
        with pytest.raises(APIStatusError) as caught:
            await streaming(response)
        assert caught.value.status == 502
        assert is_closed(response)

    @pytest.mark.parametrize(
        "rest",
        [
            [frames({"errors": [{"code": 8004, "message": "m"}]})],
            [httpx2.ReadError("gone")],
            [b"data: no json\n\n"],
            [],
        ],
        ids=["failure-frame", "broken", "garbage", "cut"],
    )
    @pytest.mark.parametrize("n", [1, 2])
    async def test_a_failure_later_ends_it(self, rest: list[Any], n: int) -> None:
        responses = [streamed(frames({"response": "a"}), *rest), streamed(frames({"response": "b"}), asyncio.Event())][
            :n
        ]
        stream, _ = await streaming(*responses, n=n)
        with pytest.raises(APIStatusError) as caught:
            await read(stream)
        assert caught.value.status == 502
        assert all(map(is_closed, responses))

    @pytest.mark.parametrize("cut", [0, 1, 3, 20])
    @pytest.mark.parametrize("n", [1, 2])
    async def test_a_stop_sequence_ends_the_upstream_early(self, cut: int, n: int) -> None:
        body = frames({"response": "one END"}, {"response": "two"})
        endless = [streamed(*filter(None, [body[:cut], body[cut:]]), asyncio.Event()) for _ in range(n)]
        stream, _ = await streaming(*endless, stop="END", n=n)
        events = await read(stream)
        assert [text_of(events, choice) for choice in range(n)] == ["one "] * n
        assert (finishes(events), events[-1]) == (["stop"] * n, b"[DONE]")
        assert all(map(is_closed, endless))

    async def test_a_choice_that_is_done_is_closed_while_others_go_on(self) -> None:
        gate = asyncio.Event()
        done = streamed(frames({"response": "a"}), frames({"response": "END"}), asyncio.Event())
        other = streamed(frames({"response": "b"}), gate, frames({"response": "c"}), DONE)
        stream, _ = await streaming(done, other, stop="END", n=2)
        task = asyncio.create_task(read(stream))
        async with asyncio.timeout(DEADLINE_SECONDS):
            await body_of(done).closed.wait()
            assert not is_closed(other)
            gate.set()
            assert text_of(await task, 1) == "bc"


class TestLeaving:
    """However a stream is left, nothing stays open behind it."""

    @staticmethod
    def endless(n: int) -> list[httpx2.Response]:
        return [streamed(*(frames({"response": "a"}) for _ in range(3)), asyncio.Event()) for _ in range(n)]

    @pytest.mark.parametrize("read_chunks", [0, 1, 2, 3])
    @pytest.mark.parametrize("n", [1, 2])
    async def test_closing(self, read_chunks: int, n: int) -> None:
        responses = self.endless(n)
        stream, _ = await streaming(*responses, n=n)
        for _ in range(read_chunks):
            await anext(stream.chunks)
        await stream.chunks.aclose()
        assert all(map(is_closed, responses))

    @pytest.mark.parametrize("read_chunks", [0, 1, 2])
    @pytest.mark.parametrize("n", [1, 2])
    async def test_dropping(self, read_chunks: int, n: int) -> None:
        responses = self.endless(n)
        stream, _ = await streaming(*responses, n=n)
        for _ in range(read_chunks):
            await anext(stream.chunks)
        del stream
        gc.collect()
        async with asyncio.timeout(DEADLINE_SECONDS):
            for response in responses:
                await body_of(response).closed.wait()
        for _ in range(10):  # whatever closed them comes to its end
            await asyncio.sleep(0)

    @pytest.mark.parametrize("n", [1, 2])
    async def test_cancellation_while_it_is_read(self, n: int) -> None:
        responses = self.endless(n)
        stream, _ = await streaming(*responses, n=n)
        await cancelled(read(stream), body_of(responses[-1]).is_waiting)
        assert all(map(is_closed, responses))

    async def test_cancellation_while_it_is_opened(self) -> None:
        ready, silent = streamed(frames({"response": "a"})), streamed(asyncio.Event())
        await cancelled(streaming(ready, silent, never, n=3), body_of(silent).is_waiting)
        assert is_closed(ready)
        assert is_closed(silent)

    async def test_the_failure_of_one_while_it_is_opened(self) -> None:
        ready, silent = streamed(frames({"response": "a"})), streamed(asyncio.Event())
        with pytest.raises(APIStatusError) as caught:
            await streaming(ready, silent, failed(4006, 429), n=3)
        assert caught.value.status == 429
        assert is_closed(ready)
        assert is_closed(silent)

    async def test_a_fault_of_the_translator_once_a_changed_call_is_answered(self) -> None:
        responses = [failed(5007, 400), *self.endless(1)]
        made = 0

        def to_stream(plan: Any) -> Any:
            nonlocal made
            made += 1
            if made > 1:
                raise KeyError("ours")
            return chat.to_stream(plan)

        def again(_plan: Any, call: Call, outcome: Any) -> Call | None:
            return replace(call, affinity="another") if isinstance(outcome, Failure) else None

        relays, _, _ = relay(*responses)
        translator = replace(chat, to_stream=to_stream, again=again)
        with pytest.raises(KeyError):
            await relays.stream(translator, "mine", asking(stream=True), CALLER)
        assert made == 2
        assert all(map(is_closed, responses))

    async def test_a_fault_of_the_translator_in_the_middle(self) -> None:
        class Faulty:
            def __init__(self, plan: Any) -> None:
                self._stream = chat.to_stream(plan)
                self.usage, self.replay, self.is_done = Usage(), self._stream.replay, self._stream.is_done
                self.finish, self.end, self.is_plain = self._stream.finish, self._stream.end, self._stream.is_plain

            def feed(self, choice: int, payloads: Any) -> bytes:
                if payloads == [b'{"response":"b"}']:
                    raise KeyError("ours")
                return self._stream.feed(choice, payloads)

        response = streamed(frames({"response": "a"}), frames({"response": "b"}), asyncio.Event())
        relays, _, _ = relay(response)
        stream = await relays.stream(replace(chat, to_stream=Faulty), "mine", asking(stream=True), CALLER)
        with pytest.raises(KeyError):
            await read(stream)
        assert is_closed(response)

    async def test_an_endpoint_without_streams_refuses_before_anything_is_sent(self) -> None:
        relays, transport, _ = relay()
        with pytest.raises(BadRequestError) as caught:
            await relays.stream(replace(chat, to_stream=no_stream), "mine", asking(stream=True), CALLER)
        assert caught.value.param == "stream"
        assert transport.requests == []


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def cut(*pieces: bytes) -> list[Step]:
    """Each by itself; all but the first once the test says so."""
    first, *others = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return [ask, CHUNKED, first, wait, *(step for piece in others for step in (piece, pause)), b"0\r\n\r\n"]


class TestPassingOn:
    """Chunks that are written while the next one is waited for."""

    async def passed(
        self, *pieces: bytes, is_ready: Callable[[], bool] = lambda: True, fault: str = "", n: int = 1, **fields: Any
    ) -> tuple[bytes, bytes]:
        """What is written, and what the chunks bring but for the first; `fault` is what they have to end with."""
        written: list[bytes] = []
        chunks: list[bytes] = []
        async with serving(cut(*pieces)) as server, Transport() as transport:
            catalog, upstream = Catalog.load(), WorkersAI(transport)
            relays = Relay(catalog, upstream, Planning(catalog, upstream, PictureLoader(Web())))
            caller = Caller("key1", replace(ACCOUNT, base_url=server.url))
            stream = await relays.stream(chat, NATIVE, asking(stream=True, n=n, **fields), caller)
            stream.pass_on(is_ready, written.append)
            await anext(stream.chunks)
            server.go.set()
            with pytest.raises(APIStatusError, match=fault) if fault else nullcontext():
                chunks.extend([chunk async for chunk in stream.chunks])
        assert all(written)
        return b"".join(written), b"".join(chunks)

    async def test_plain_texts_are_written(self) -> None:
        pieces = [frames({"response": text}) for text in "abc"]
        written, chunks = await self.passed(*pieces, frames({"response": "", "usage": {"prompt_tokens": 2}}) + DONE)
        assert [text in written for text in (b'"a"', b'"b"', b'"c"')] == [False, True, True]
        assert b'"content"' not in chunks
        assert chunks.endswith(DONE)

    async def test_nothing_is_written_that_nobody_can_take(self) -> None:
        pieces = [frames({"response": text}) for text in "abc"]
        written, chunks = await self.passed(*pieces, DONE, is_ready=lambda: False)
        assert written == b""
        assert b'"b"' in chunks

    async def test_a_text_that_may_be_held_back_is_not_written(self) -> None:
        pieces = [frames({"response": text}) for text in "abc"]
        written, chunks = await self.passed(*pieces, DONE, stop=["c"])
        assert written == b""
        assert b'"b"' in chunks
        assert b'"c"' not in chunks

    async def test_choices_that_take_turns_are_not_written(self) -> None:
        pieces = [frames({"response": text}) for text in "abc"]
        written, chunks = await self.passed(*pieces, DONE, n=2)
        assert written == b""
        assert chunks.count(b'"b"') == 2

    async def test_a_fault_of_the_translator_comes_out_of_the_chunks(self) -> None:
        pieces = [frames({"response": text}) for text in "ab"]
        written, chunks = await self.passed(*pieces, b"data: {\n\n", DONE, fault="not JSON")
        assert b'"b"' in written
        assert chunks == b""

    async def test_a_whole_answer_has_nothing_to_write(self) -> None:
        written: list[bytes] = []
        stream, _ = await streaming(whole(HELLO))
        stream.pass_on(lambda: True, written.append)
        assert text_of(await read(stream)) == "hello"
        assert written == []

"""Paths, credentials, limits, and what an emulator remembers of its requests."""

from typing import Any

import anyio
import pytest

from app.catalog import Catalog, Model
from app.emulator.app import create_emulator
from app.emulator.faults import Fault
from app.emulator.meters import Meters
from app.emulator.options import Options
from app.emulator.requests import receive_request
from tests.emulator.asking import (
    BGE,
    CHAT,
    FLUX,
    HELLO,
    KIMI,
    LICENSED,
    NATIVE,
    RETIRED,
    VISION,
    Asker,
    asking,
    refusal,
    scripted,
)

pytestmark = pytest.mark.anyio

RUN = f"/accounts/a1/ai/run/{NATIVE}"
TOKENS = Options(tokens={"a1": "t1", "a2": "t2"})


async def test_the_base_path_is_optional(ask: Asker) -> None:
    for base in ("http://emulator", "http://emulator/client/v4"):
        assert (await ask.client.post(base + RUN, json={"prompt": "Hi"})).status_code == 200


async def test_run_may_have_its_model_in_the_body(ask: Asker) -> None:
    body = {"model": NATIVE, "input": {"prompt": '!emulate {"text":"One"}'}, "options": {"rejectIfBusy": True}}
    response = await ask.client.post("/accounts/a1/ai/run", json=body)
    assert response.json()["result"]["response"] == "One"


@pytest.mark.parametrize("body", [{"model": NATIVE}, {"model": NATIVE, "input": []}])
async def test_then_the_input_must_be_an_object(ask: Asker, body: dict[str, Any]) -> None:
    response = await ask.client.post("/accounts/a1/ai/run", json=body)
    assert refusal(response) == (400, 5006, "Bad input: Error: required properties at '/' are 'input'")


async def test_an_encoded_at_sign_is_read(ask: Asker) -> None:
    response = await ask.client.post(RUN.replace("@", "%40"), json={"prompt": "Hi"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/a1/ai/v1/completions",
        "/accounts/a1/ai/runs",
        "/accounts/a1/other",
        f"/accounts/a1/ai/run/{NATIVE.replace('/', '%2F')}",
        "/",
    ],
)
async def test_an_unknown_path_can_not_be_routed(ask: Asker, path: str) -> None:
    response = await ask.client.post(path, json={"prompt": "Hi"})
    assert response.status_code == 404
    body = response.json()
    assert ([error["code"] for error in body["errors"]], body["result"]) == ([7003, 7000], None)
    assert body["errors"][0]["message"].startswith("Could not route to /client/v4")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", RUN), ("POST", "/accounts/a1/ai/models/search"), ("POST", "/user/tokens/verify")]
)
async def test_a_wrong_method_is_405(ask: Asker, method: str, path: str) -> None:
    response = await ask.client.request(method, path)
    assert response.status_code == 405
    assert response.json()["errors"] == [{"code": 7001, "message": f"Method {method} not available for that URI."}]


@pytest.mark.parametrize("authorization", ["", "Basic t1", "Bearer ", "t1"])
@pytest.mark.parametrize("path", [RUN, "/accounts/a1/ai/models/search"])
async def test_without_a_token_it_is_9106(ask: Asker, authorization: str, path: str) -> None:
    response = await ask.client.post(path, json={}, headers={"authorization": authorization})
    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, 9106)


async def test_any_token_opens_any_account_unless_they_are_named(ask: Asker) -> None:
    assert (await ask.run(NATIVE, prompt="Hi")).status_code == 200


@pytest.mark.parametrize(
    ("account", "token", "status", "codes"),
    [("a1", "t1", 200, []), ("a1", "t2", 401, [10000]), ("a3", "t1", 404, [7003, 7000])],
)
async def test_named_tokens_are_checked(account: str, token: str, status: int, codes: list[int]) -> None:
    async with asking(TOKENS, token) as ask:
        response = await ask.client.post(f"/accounts/{account}/ai/run/{NATIVE}", json={"prompt": "Hi"})
        assert (response.status_code, [error["code"] for error in response.json()["errors"]]) == (status, codes)


@pytest.mark.parametrize(
    ("options", "token", "status"), [(Options(), "x", 200), (TOKENS, "t2", 200), (TOKENS, "x", 401)]
)
async def test_a_token_can_be_verified(options: Options, token: str, status: int) -> None:
    async with asking(options, token) as ask:
        response = await ask.client.get("/user/tokens/verify")
        assert response.status_code == status
        assert response.json()["success"] is (status == 200)


@pytest.mark.parametrize(
    ("content", "content_type", "expected"),
    [
        (b'{"prompt":"Hi"}', "text/plain", (400, 3003, "Invalid or incomplete request: headers or body missing")),
        (b"", "application/json", (400, 3003, "Invalid or incomplete request: headers or body missing")),
        (b'{"prompt"', "application/json", (400, 5006, "Bad input: Error: the body must be a JSON object")),
        (b"[]", "application/json", (400, 5006, "Bad input: Error: the body must be a JSON object")),
        (b" " * 1001, "application/json", (413, 3006, "Request is too large")),
    ],
)
async def test_a_body_must_be_json(content: bytes, content_type: str, expected: Any) -> None:
    async with asking(Options(max_body_bytes=1000)) as ask:
        response = await ask.client.post(RUN, content=content, headers={"content-type": content_type})
        assert refusal(response) == expected


async def test_of_a_body_that_is_too_large_only_the_start_is_kept() -> None:
    more = iter([True, True, True, False])

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 8, "more_body": next(more)}

    scope = {"method": "POST", "path": RUN, "query_string": b"", "headers": []}
    request = await receive_request(scope, receive, 10)
    assert (request.body, request.size, request.path) == (b"x" * 11, 16, RUN)


async def test_a_type_with_parameters_is_json_too(ask: Asker) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert (await ask.client.post(RUN, content=b'{"prompt":"Hi"}', headers=headers)).status_code == 200


@pytest.mark.parametrize("model", ["@cf/nobody/nothing", "gpt-4o", "@cf/nobody/smells"])
async def test_an_unknown_model_or_one_of_another_task_is_5007(model: str) -> None:
    async with asking(Options(models=(Model("@cf/nobody/smells", "smelling"),))) as ask:
        assert refusal(await ask.run(model, prompt="Hi")) == (400, 5007, f"No such model {model} or task")
        assert refusal(await ask.chat(model, messages=HELLO)) == (400, 5007, f"No such model {model} or task")


@pytest.mark.parametrize("model", [FLUX, BGE])
async def test_a_model_of_another_task_has_no_chat(ask: Asker, model: str) -> None:
    assert refusal(await ask.chat(model, messages=HELLO)) == (400, 5007, f"No such model {model} or task")


async def test_a_body_without_a_model_is_5007(ask: Asker) -> None:
    response = await ask.client.post("/accounts/a1/ai/v1/chat/completions", json={"messages": HELLO})
    assert refusal(response)[:2] == (400, 5007)


@pytest.mark.parametrize("model", ["@cf/facebook/bart-large-cnn", "@cf/openai/whisper-sherpa"])
async def test_a_retired_model_is_gone_whatever_its_task(ask: Asker, model: str) -> None:
    assert refusal(await ask.run(model, input_text="Hi"))[:2] == (410, 5028)


async def test_a_successor_may_have_another_task() -> None:
    async with asking(Options(quirks=frozenset({"quiet-replacement"}))) as ask:
        body = await ask.ran("@cf/facebook/bart-large-cnn", messages=HELLO)
        assert body["model"] == "@cf/zai-org/glm-4.7-flash"
        text = "Bad input: Error: required properties at '/' are 'audio'"
        assert refusal(await ask.run("@cf/openai/whisper-sherpa", text="Hi")) == (400, 5006, text)


@pytest.mark.parametrize(
    ("query", "status"),
    [("queueRequest=true", 400), ("queueRequest=1", 400), ("queueRequest=false", 200), ("tags=a,b&other", 200)],
)
async def test_options_of_a_run_may_stand_in_the_query(ask: Asker, query: str, status: int) -> None:
    response = await ask.client.post(f"{RUN}?{query}", json={"prompt": "Hi"})
    assert response.status_code == status
    assert [error["code"] for error in response.json()["errors"]] == [5006] * (status == 400)


async def test_options_may_add_models() -> None:
    async with asking(Options(models=(Model("@cf/new/model", "text-generation"),))) as ask:
        assert (await ask.run("@cf/new/model", messages=HELLO)).status_code == 200


async def test_a_catalogue_may_be_given() -> None:
    emulator = create_emulator(catalog=Catalog([]))
    assert emulator.open_requests == 0


async def test_a_retired_model_is_gone(ask: Asker) -> None:
    response = await ask.chat(RETIRED, messages=HELLO)
    assert refusal(response) == (410, 5028, f"Model has been deprecated: {RETIRED} was deprecated on 2026-05-30.")


async def test_or_its_successor_answers_and_is_named(ask: Asker) -> None:
    body = await ask.chatted(RETIRED, messages=scripted(quirks=["quiet-replacement"], reasoning="Hm"))
    assert (body["model"], body["choices"][0]["message"]["reasoning"]) == (KIMI, "Hm")


async def test_the_free_plan_has_not_all_models() -> None:
    async with asking(Options(free_plan=True)) as ask:
        text = f"Model {KIMI} is not available on the Workers Free plan. Upgrade to Workers Paid to use it."
        assert refusal(await ask.chat(KIMI, messages=HELLO)) == (403, 5035, text)
        assert (await ask.chat(CHAT, messages=HELLO)).status_code == 200


async def test_a_license_is_accepted_once_per_account() -> None:
    async with asking(Options(needs_license=True)) as ask:
        assert refusal(await ask.run(LICENSED, prompt="Hi"))[:2] == (403, 5016)
        assert (await ask.run(LICENSED, prompt="agree")).status_code == 200
        assert (await ask.run(LICENSED, prompt="Hi")).status_code == 200
        other = await ask.client.post(f"/accounts/a2/ai/run/{LICENSED}", json={"prompt": "Hi"})
        assert refusal(other)[:2] == (403, 5016)
        assert (await ask.run(NATIVE, prompt="Hi")).status_code == 200


@pytest.mark.parametrize("code", [4006, 3036])
async def test_spent_neurons_are_429_for_their_account(code: int) -> None:
    async with asking(Options(daily_neurons=1, quota_code=code)) as ask:
        assert (await ask.run(NATIVE, prompt="Hi")).status_code == 200
        assert ask.emulator.meters.neurons_today("a1") > 1
        assert refusal(await ask.run(NATIVE, prompt="Hi"))[:2] == (429, code)
        other = await ask.client.post(f"/accounts/a2/ai/run/{NATIVE}", json={"prompt": "Hi"})
        assert other.status_code == 200


async def test_too_many_requests_in_a_minute_are_429_without_a_code() -> None:
    async with asking(Options(requests_per_minute=2)) as ask:
        statuses = [(await ask.run(NATIVE, prompt="Hi")).status_code for _ in range(2)]
        response = await ask.run(NATIVE, prompt="Hi")
        assert statuses == [200, 200]
        assert refusal(response) == (429, 0, "rate limiting: inference request per min rate reached")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "No more data centers to forward the request to"),
        ({"options": {"rejectIfBusy": True}}, "Capacity temporarily exceeded, please try again."),
        ({"options": {"rejectIfBusy": False}}, "No more data centers to forward the request to"),
    ],
)
async def test_every_kth_run_of_a_busy_model_finds_no_capacity(options: dict[str, Any], text: str) -> None:
    async with asking(Options(busy_every={NATIVE: 2})) as ask:
        found = [await ask.run(NATIVE, prompt="Hi", **options) for _ in range(4)]
        assert [response.status_code for response in found] == [200, 429, 200, 429]
        assert refusal(found[1]) == (429, 3040, text)
        assert (await ask.run(CHAT, messages=HELLO)).status_code == 200


async def test_latency_is_before_answers_and_tokens() -> None:
    async with asking(Options(latency_seconds=0.001, token_seconds=0.001)) as ask:
        assert (await ask.run(NATIVE, prompt='!emulate {"error":{"code":3040}}')).status_code == 429
        assert len(await ask.run_events(NATIVE, prompt='!emulate {"text":"One"}')) == 3


async def test_quirks_of_the_options_are_for_every_request() -> None:
    async with asking(Options(quirks=frozenset({"string-code"}))) as ask:
        assert refusal(await ask.run(NATIVE))[:2] == (400, "5006")
        assert refusal(await ask.run("@cf/nobody/nothing"))[:2] == (400, "5007")


def test_an_unknown_quirk_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="No such quirk: paddding"):
        Options(quirks=frozenset({"paddding"}))


async def test_answers_name_their_inference_and_its_price(ask: Asker) -> None:
    response = await ask.run(NATIVE, messages=scripted(text="One two three"))
    assert response.headers["cf-ai-neurons"] == "0.747755"
    assert response.headers["cf-ai-req-id"].startswith("00000001-0404-4429-9304-")
    assert response.headers["cf-ray"].endswith("-EMU")
    response = await ask.run(NATIVE)
    assert response.headers["cf-ai-req-id"] in response.json()["errors"][0]["message"]


async def test_a_repeated_prefix_is_cached_under_the_same_affinity(ask: Asker) -> None:
    async def cached(*texts: str, affinity: str | None = "s1", model: str = VISION) -> int:
        messages = [{"role": "user", "content": text} for text in texts]
        body = {"model": model, "messages": messages}
        headers = {"x-session-affinity": affinity} if affinity else {}
        response = await ask.client.post("/accounts/a1/ai/v1/chat/completions", json=body, headers=headers)
        return int(response.json()["usage"]["prompt_tokens_details"]["cached_tokens"])

    assert await cached("one two", "three") == 0
    assert await cached("one two", "four") == 6
    assert await cached("one two", "four", "five") == 11
    assert await cached("other") == 0
    assert await cached("other", affinity="s2") == 0
    assert await cached("other", affinity=None) == 0
    assert await cached("other", model=CHAT) == 0
    assert await cached("other", model=CHAT) == 0  # without prompt caching


def test_a_minute_and_a_day_come_to_an_end() -> None:
    now = 86400.0
    meters = Meters(Options(requests_per_minute=1, daily_neurons=1), lambda: now)
    meters.check_pace("a1")
    meters.charge("a1", 2)
    with pytest.raises(Fault):
        meters.check_pace("a1")
    with pytest.raises(Fault):
        meters.check_allowance("a1")
    now += 60
    meters.check_pace("a1")
    now += 86400
    meters.check_allowance("a1")
    assert meters.neurons_today("a1") == 0


async def test_only_so_many_prompts_are_remembered(ask: Asker) -> None:
    for number in range(300):
        ask.emulator.meters.remembered(("a1", VISION, str(number)), [])
    assert len(ask.emulator.meters._prompts) == 256


async def test_requests_are_remembered(ask: Asker) -> None:
    await ask.client.post(RUN + "?tags=a", json={"prompt": "Hi"}, headers={"X-Session-Affinity": "s1"})
    await ask.client.get("/accounts/a1/ai/models/search")
    first, second = ask.emulator.requests
    assert (first.method, first.path, first.query) == ("POST", f"/client/v4{RUN}", "tags=a")
    assert (first.body, first.headers["x-session-affinity"]) == ({"prompt": "Hi"}, "s1")
    assert (second.method, second.body, second.size) == ("GET", b"", 0)
    assert (ask.emulator.open_requests, ask.emulator.cancelled_requests) == (0, 0)


async def test_but_only_the_last_ones() -> None:
    async with asking(Options(kept_requests=2)) as ask:
        for number in range(3):
            await ask.run(NATIVE, prompt=str(number))
        assert [request.body["prompt"] for request in ask.emulator.requests] == ["1", "2"]


async def test_a_client_that_leaves_ends_its_stream(ask: Asker) -> None:
    body = {"prompt": '!emulate {"tokens":1000000,"delay_ms":1}', "max_tokens": 20000, "stream": True}
    async with ask.client.stream("POST", RUN, json=body) as response:
        async for _ in response.aiter_bytes():
            assert ask.emulator.open_requests == 1
            break
    assert (ask.emulator.open_requests, ask.emulator.cancelled_requests) == (0, 1)


async def test_a_client_that_leaves_before_the_first_byte_is_seen_too(ask: Asker) -> None:
    with anyio.move_on_after(0.05):
        await ask.run(NATIVE, prompt='!emulate {"first_delay_ms":60000}')
    assert (ask.emulator.open_requests, ask.emulator.cancelled_requests) == (0, 1)


async def test_a_client_that_leaves_before_its_body_is_through_counts_as_gone() -> None:
    emulator = create_emulator()

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    await emulator({"type": "http", "method": "POST"}, receive, send)
    assert (emulator.open_requests, emulator.cancelled_requests) == (0, 1)


async def test_other_protocols_are_left_alone() -> None:
    async def nothing(*args: Any) -> Any:
        raise AssertionError(args)

    await create_emulator()({"type": "lifespan"}, nothing, nothing)

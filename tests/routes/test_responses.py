"""Responses over HTTP: kept, found again, listed, deleted, and broken off."""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from app.errors import BadRequestError, InternalServerError, NotFoundError
from app.main import create_app
from app.routes.responses import faults_told
from app.routes.stored import page
from app.stores.database import StoreError
from tests.serving import (
    CHAT,
    HYBRID,
    NATIVE,
    Cloudflare,
    Server,
    answering,
    body,
    connected,
    flarelay,
    settings,
    start,
    until,
)

OTHER = "key-of-another"


def script(text: str = "Hello", **fields: Any) -> str:
    return f"Hi\n!emulate {orjson.dumps({'text': text, 'reasoning': ''} | fields).decode()}"


def asked(given: Any = None, **fields: Any) -> dict[str, Any]:
    return {"model": CHAT, "input": script() if given is None else given} | fields


@pytest.fixture(scope="module")
def server(upstream: Cloudflare, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    keys = "key-of-a-caller,key-of-another"
    with flarelay(upstream, api_keys=keys, data_dir=str(tmp_path_factory.mktemp("kept"))) as running:
        yield running


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx2.Client]:
    with connected(server) as client:
        yield client


def created(http: httpx2.Client, **fields: Any) -> dict[str, Any]:
    answer = http.post("/v1/responses", json=asked(**fields))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def events(stream: str) -> list[dict[str, Any]]:
    """Those of a stream without heartbeats."""
    assert stream.endswith("\n\n")
    return [orjson.loads(block.split("\ndata: ")[1]) for block in stream.split("\n\n")[:-1]]


def fault(answer: httpx2.Response) -> tuple[int, str | None, str | None]:
    error = answer.json()["error"]
    assert error["message"]
    return answer.status_code, error["param"], error["code"]


@pytest.mark.parametrize("prefix", ["/v1", ""])
def test_a_response_is_found_again_until_it_is_deleted(http: httpx2.Client, prefix: str) -> None:
    made = http.post(f"{prefix}/responses", json=asked()).json()
    where = f"{prefix}/responses/{made['id']}"
    assert http.get(where).json() == made
    assert http.delete(where).json() == {"id": made["id"], "object": "response", "deleted": True}
    for answer in (http.get(where), http.delete(where), http.get(f"{where}/input_items"), http.post(f"{where}/cancel")):
        assert fault(answer) == (404, "response_id", "not_found")


def test_what_is_not_to_be_stored_is_not(http: httpx2.Client) -> None:
    made = created(http, store=False)
    assert made["store"] is False
    assert http.get(f"/v1/responses/{made['id']}").status_code == 404


def test_nobody_sees_the_responses_of_others(http: httpx2.Client, server: Server) -> None:
    made = created(http)
    where = f"/v1/responses/{made['id']}"
    with connected(server, authorization=f"Bearer {OTHER}") as other:
        for answer in (other.get(where), other.delete(where), other.get(f"{where}/input_items")):
            assert fault(answer)[0] == 404
        gone_on = other.post("/v1/responses", json=asked("And?", previous_response_id=made["id"]))
        assert fault(gone_on) == (404, "previous_response_id", "previous_response_not_found")
        reference = [{"type": "item_reference", "id": made["output"][0]["id"]}]
        assert fault(other.post("/v1/responses", json=asked(reference))) == (400, "input[0].id", "item_not_found")
    assert http.get(where).status_code == 200
    assert httpx2.get(f"{server.url}{where}", verify=False).status_code == 401


def test_a_conversation_goes_on(http: httpx2.Client, upstream: Cloudflare) -> None:
    first = created(http)
    second = created(http, given="And?", previous_response_id=first["id"], instructions="Be brief.")
    third = created(http, given="So?", previous_response_id=second["id"])
    assert [turn["role"] for turn in upstream.sent["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert upstream.sent["messages"][1]["content"] == "Hello"
    assert third["previous_response_id"] == second["id"]
    http.delete(f"/v1/responses/{first['id']}")
    answer = http.post("/v1/responses", json=asked("And?", previous_response_id=third["id"]))
    assert fault(answer) == (404, "previous_response_id", "previous_response_not_found")


def test_a_conversation_goes_on_after_a_restart(upstream: Cloudflare, tmp_path: Path) -> None:
    with flarelay(upstream, data_dir=str(tmp_path)) as server, connected(server) as client:
        first = created(client)
        second = created(client, given="And?", previous_response_id=first["id"])
    with flarelay(upstream, data_dir=str(tmp_path)) as server, connected(server) as client:
        assert client.get(f"/v1/responses/{first['id']}").json() == first
        created(client, given="And then?", previous_response_id=second["id"])
    assert [turn["content"] for turn in upstream.sent["messages"] if turn["role"] == "user"][1:] == [
        "And?",
        "And then?",
    ]


@pytest.mark.parametrize(("seconds", "is_found"), [(60, True), (0.001, False)])
def test_how_long_responses_are_kept_is_a_setting(
    upstream: Cloudflare, tmp_path: Path, seconds: float, is_found: bool
) -> None:
    options: dict[str, Any] = {"data_dir": str(tmp_path), "stored_responses_expire_seconds": seconds}
    with flarelay(upstream, **options) as server, connected(server) as client:
        made = created(client)
        assert (client.get(f"/v1/responses/{made['id']}").status_code == 200) is is_found


def test_an_item_of_an_earlier_response_can_be_referred_to(http: httpx2.Client, upstream: Cloudflare) -> None:
    first = created(http)
    given = [
        {"role": "user", "content": "Hi"},
        {"type": "item_reference", "id": first["output"][0]["id"]},
        {"role": "user", "content": "And?"},
    ]
    second = created(http, given=given)
    assert [turn["content"] for turn in upstream.sent["messages"]] == ["Hi", "Hello", "And?"]
    listed = http.get(f"/v1/responses/{second['id']}/input_items", params={"order": "asc"}).json()["data"]
    assert listed[1] == first["output"][0]
    unknown = [{"type": "item_reference", "id": "msg_of_others"}, {"type": "item_reference", "id": "msg_a_0"}]
    assert fault(http.post("/v1/responses", json=asked(unknown)))[1] == "input[0].id"


def test_input_items_are_listed_in_pages(http: httpx2.Client) -> None:
    first = created(http)
    second = created(http, given=[{"role": "user", "content": "And?"}], previous_response_id=first["id"])
    where = f"/v1/responses/{second['id']}/input_items"
    whole = http.get(where, params={"order": "asc"}).json()
    assert [item["role"] for item in whole["data"]] == ["user", "assistant", "user"]
    assert (whole["object"], whole["has_more"]) == ("list", False)
    latest = http.get(where, params={"limit": 2}).json()
    assert latest["data"] == whole["data"][::-1][:2]
    assert latest["has_more"] is True
    rest = http.get(where, params={"limit": 2, "after": latest["last_id"]}).json()
    assert (rest["data"], rest["has_more"]) == (whole["data"][:1], False)
    assert fault(http.get(where, params={"after": "msg_0"})) == (404, "after", "not_found")
    assert fault(http.get(where, params={"limit": 0})) == (400, "limit", "invalid_value")


def test_an_item_that_was_sent_twice_is_listed_once() -> None:
    """Its id stands for one place: behind it the pages would begin again, and never end."""
    items: list[dict[str, Any]] = [{"id": "a"}, {"id": "b"}, {"id": "a"}, {"id": "c"}]
    found = page(items, 1, None)
    listed = [found["last_id"]]
    while found["has_more"]:
        assert len(listed) < len(items)
        found = page(items, 1, found["last_id"])
        listed.append(found["last_id"])
    assert listed == ["a", "b", "c"]


def test_a_page_may_be_empty() -> None:
    empty: dict[str, Any] = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    assert page([], 20, None) == empty
    with pytest.raises(NotFoundError):
        page([], 20, "x")


def test_what_is_not_offered_is_refused_clearly(http: httpx2.Client) -> None:
    made = created(http)
    where = f"/v1/responses/{made['id']}"
    cancelled = http.post(f"{where}/cancel")
    assert fault(cancelled) == (400, None, "invalid_value")
    assert cancelled.json()["error"]["message"].startswith("Cannot cancel a synchronous response")
    assert fault(http.post("/v1/responses/resp_0/cancel")) == (404, "response_id", "not_found")
    assert fault(http.get(where, params={"stream": True})) == (400, "stream", "unsupported_parameter")
    assert fault(http.post("/v1/responses/compact", json=asked())) == (404, None, "not_found")
    assert fault(http.post("/v1/responses", json=asked(background=True)))[1:] == ("background", "unsupported_parameter")


def test_input_tokens_are_estimated(http: httpx2.Client) -> None:
    short, long = (
        http.post("/v1/responses/input_tokens", json=asked(text)).json() for text in ("Hi", "Hi there " * 90)
    )
    assert short["object"] == "response.input_tokens"
    assert 0 < short["input_tokens"] < 20 < long["input_tokens"]
    assert fault(http.post("/v1/responses/input_tokens", json=asked("Hi", background=True)))[0] == 400


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"given": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input"),
        ({"given": script(leak="no"), "text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"given": [{"role": "user", "content": [{"type": "input_image", "image_url": "file:///a"}]}]}, "input"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
)
def test_a_fault_names_the_field_of_the_request(http: httpx2.Client, fields: dict[str, Any], param: str) -> None:
    answer = http.post("/v1/responses", json=asked(**fields))
    assert fault(answer)[:2] == (400, param)


def test_an_overflow_is_told_in_the_words_that_agents_know(http: httpx2.Client) -> None:
    error = {"code": 5021, "message": "The estimated number of input and maximum output tokens (9001) exceeded this "
             "model context window limit (8192)."}  # fmt: skip
    answer = http.post("/v1/responses", json=asked(script(error=error), stream=True))
    assert fault(answer) == (400, "input", "context_length_exceeded")


@pytest.mark.parametrize("model", [NATIVE, HYBRID, CHAT])
def test_an_answer_that_breaks_off_has_failed_and_is_not_kept(http: httpx2.Client, model: str) -> None:
    given = script("one two three four five", cut=2)
    answer = http.post("/v1/responses", json=asked(given, model=model, stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = events(answer.text)
    assert found[0]["type"] == "response.created"
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    last = found[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["error"]["code"] == "server_error"
    assert not any(event["type"] in ("response.completed", "error") for event in found)
    assert http.get(f"/v1/responses/{last['response']['id']}").status_code == 404


def test_a_client_that_leaves_leaves_nothing_behind(http: httpx2.Client, server: Server) -> None:
    given = script(" ".join(["word"] * 200), delay_ms=30)
    with http.stream("POST", "/v1/responses", json=asked(given, stream=True)) as answer:
        first = next(line for line in answer.iter_lines() if line.startswith("data: "))
    response = orjson.loads(first.removeprefix("data: "))["response"]
    until(lambda: not server.tasks())
    assert http.get(f"/v1/responses/{response['id']}").status_code == 404


def test_a_stream_is_kept_before_its_end_is_told(http: httpx2.Client) -> None:
    answer = http.post("/v1/responses", json=asked(stream=True))
    last = events(answer.text)[-1]["response"]
    assert http.get(f"/v1/responses/{last['id']}").json() == last
    assert answer.headers["x-flarelay-model"] == CHAT


def test_a_stream_without_an_answer_in_it_is_an_error() -> None:
    with answering(start("text/event-stream"), body(b"data: {broken\n\n")) as client:
        answer = client.post("/v1/responses", json=asked("Hi", stream=True))
    assert answer.status_code == 502


async def in_process(path: Path) -> AsyncGenerator[httpx2.AsyncClient]:
    """A server whose database is not open."""
    transport = httpx2.ASGITransport(create_app(settings(data_dir=str(path))))
    async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
        yield client


@pytest.mark.anyio
async def test_without_its_database_answers_come_but_none_is_found(tmp_path: Path) -> None:
    async for client in in_process(tmp_path):
        made = await client.post("/v1/responses", json=asked())
        assert made.status_code == 200
        answer = await client.get("/v1/responses/resp_1")
        assert fault(answer) == (503, None, "storage_failed")
        gone_on = await client.post("/v1/responses", json=asked("And?", previous_response_id="resp_1"))
        assert fault(gone_on) == (503, None, "storage_failed")


def test_faults_are_told_in_the_words_of_the_request() -> None:
    with pytest.raises(BadRequestError) as refused, faults_told():
        raise BadRequestError("No.", param="response_format.type")
    assert refused.value.param == "text.format"
    with pytest.raises(InternalServerError) as failed, faults_told():
        raise StoreError("full")
    assert failed.value.status == 503

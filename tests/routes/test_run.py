"""Raw runs over real sockets: what goes in, what comes out, and what is ours in between."""

from typing import Any

import httpx2
import orjson
import pytest

from app.upstream.events import LARGEST_EVENT
from tests.emulator.asking import picture_bytes
from tests.serving import NATIVE, Cloudflare, answering, body, start

SENTIMENT = "@cf/huggingface/distilbert-sst-2-int8"
PICTURES = "@cf/microsoft/resnet-50"


def run(http: httpx2.Client, model: str, content: Any, **headers: str) -> httpx2.Response:
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    return http.post(f"/v1/run/{model}", content=body, headers={"content-type": "application/json"} | headers)


def script(**wanted: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"Hi\n!emulate {orjson.dumps(wanted).decode()}"}]}


def test_an_answer_is_cloudflares_own_with_what_it_cost(http: httpx2.Client) -> None:
    response = run(http, SENTIMENT, {"text": "a great day"})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers["x-flarelay-model"] == SENTIMENT
    assert float(response.headers["x-flarelay-neurons"]) > 0
    body = response.json()
    assert {row["label"] for row in body["result"]} == {"POSITIVE", "NEGATIVE"}
    assert (body["success"], body["errors"], body["messages"]) == (True, [], [])


@pytest.mark.parametrize("path", ["/v1/run/", "/run/", "//v1//run/"])
def test_it_answers_at_every_form_of_the_path(http: httpx2.Client, path: str) -> None:
    assert http.post(f"{path}{SENTIMENT}", json={"text": "fine"}).status_code == 200


def test_bytes_reach_the_model_as_they_are(http: httpx2.Client, upstream: Cloudflare) -> None:
    picture = picture_bytes()
    response = run(http, PICTURES, picture, **{"content-type": "image/png"})
    assert response.status_code == 200
    assert isinstance(response.json()["result"], list)
    sent = upstream.emulator.requests[-1]
    assert (sent.headers["content-type"], sent.size) == ("image/png", len(picture))


@pytest.mark.parametrize("given", ["application/x-www-form-urlencoded", "text/plain"])
def test_json_is_known_whatever_type_it_is_sent_as(http: httpx2.Client, given: str) -> None:
    assert run(http, SENTIMENT, {"text": "fine"}, **{"content-type": given}).status_code == 200


def test_a_body_without_a_type_is_sent_as_bytes(http: httpx2.Client, upstream: Cloudflare) -> None:
    response = http.post(f"/v1/run/{PICTURES}", content=picture_bytes())
    assert response.status_code == 200
    assert upstream.emulator.requests[-1].headers["content-type"] == "application/octet-stream"


def test_options_go_on_and_keys_do_not(http: httpx2.Client, upstream: Cloudflare) -> None:
    http.post(f"/v1/run/{SENTIMENT}?language=en&key=secret&token=secret&password=secret&empty=", json={"text": "a"})
    assert upstream.emulator.requests[-1].query == "language=en&empty="


def test_events_come_as_they_are(http: httpx2.Client) -> None:
    body = script(text="one two") | {"stream": True}
    response = run(http, NATIVE, body)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [block.removeprefix("data: ") for block in response.text.split("\n\n")[:-1]]
    assert events[-1] == "[DONE]"
    assert [orjson.loads(event)["response"] for event in events[:-1]] == ["one", " two", ""]
    assert "p" in orjson.loads(events[0])


def test_events_that_break_off_end_with_an_error(http: httpx2.Client) -> None:
    response = run(http, NATIVE, script(text="one two", cut=True) | {"stream": True})
    last = response.text.split("\n\n")[-2].removeprefix("data: ")
    assert orjson.loads(last)["error"]["code"] == "upstream_error"
    assert "[DONE]" not in response.text


@pytest.mark.parametrize(
    ("model", "body", "status", "code"),
    [
        (NATIVE, {"prompt": ""}, 400, "invalid_value"),
        (NATIVE, {}, 400, "invalid_value"),
        (NATIVE, b"{", 400, None),
        (NATIVE, b"", 400, "missing_body"),
        ("@cf/no/such-model", {"text": "a"}, 404, "model_not_found"),
        ("@cf/facebook/bart-large-cnn", {"input_text": "a"}, 404, "model_not_found"),
        ("nothing", {"text": "a"}, 404, "model_not_found"),
        ("@cf/a/..%2F..%2Fb", {"text": "a"}, 404, "model_not_found"),
        (NATIVE, script(error={"code": 3040, "status": 429}), 503, "overloaded"),
        (NATIVE, script(quirks=["success-false-200"], error={"code": 5006, "status": 200}), 400, "invalid_value"),
    ],
)
def test_failures_have_openais_shape(http: httpx2.Client, model: str, body: Any, status: int, code: str | None) -> None:
    response = run(http, model, body)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert code in (None, error["code"])


def test_a_key_is_needed(http: httpx2.Client) -> None:
    response = http.post(f"/v1/run/{SENTIMENT}", json={"text": "a"}, headers={"authorization": "Bearer wrong"})
    assert response.status_code == 401


def test_binary_answers_come_as_they_are() -> None:
    with answering(start("image/png", cf_ai_neurons="1.5"), body(b"\x89PNG", more=True), body(b"\x00")) as client:
        response = client.post("/v1/run/@cf/a/picture", json={"prompt": "x"})
    assert (response.content, response.headers["content-type"]) == (b"\x89PNG\x00", "image/png")
    assert response.headers["x-flarelay-neurons"] == "1.5"


def test_a_type_keeps_its_spelling() -> None:
    """A boundary in it is not to be changed."""
    given = "multipart/form-data; boundary=AbC"
    with answering(start(given), body(b"--AbC--")) as client:
        response = client.post("/v1/run/@cf/a/form", json={"prompt": "x"})
    assert response.headers["content-type"] == given


def test_usage_without_a_charge_takes_the_headers() -> None:
    answer = b'{"result":{"usage":{"prompt_tokens":3}},"success":true}'
    with answering(start("application/json", cf_ai_neurons="2"), body(answer)) as client:
        response = client.post("/v1/run/@cf/a/text", json={"prompt": "x"})
    assert response.headers["x-flarelay-neurons"] == "2"


def test_a_binary_answer_that_breaks_off_does_not_look_whole() -> None:
    broken = answering(start("image/png"), body(b"\x89PNG", more=True), breaks=True)
    with broken as client, pytest.raises(httpx2.RemoteProtocolError):
        client.post("/v1/run/@cf/a/picture", json={"prompt": "x"})


def test_an_event_without_an_end_is_an_error() -> None:
    endless = [body(b"data: " + b"x" * LARGEST_EVENT, more=True), body(b"x" * 1024, more=True)]
    with answering(start("text/event-stream"), *endless, body(b"")) as client:
        response = client.post("/v1/run/@cf/a/text", json={"prompt": "x", "stream": True})
    assert response.text.endswith('"code":"upstream_error"}}\n\n')


def test_a_last_event_may_lack_its_blank_line() -> None:
    with answering(start("text/event-stream"), body(b'data: {"response":"a"}\n\ndata: [DONE]')) as client:
        response = client.post("/v1/run/@cf/a/text", json={"prompt": "x", "stream": True})
    assert response.text == 'data: {"response":"a"}\n\ndata: [DONE]'

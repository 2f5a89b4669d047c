"""The requests of DeepLX's clients, as each of them sends them, and what they take for an answer."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from app.errors import APIStatusError, AuthenticationError, InternalServerError, ModelNotFoundError, RateLimitError
from app.routes.streaming import ClientLeft
from app.translation.wishes import Manner, Wish
from tests.routes.scripted import Client, piece
from tests.routes.translating import API_KEY, MAX_BYTES, MODEL, TOKEN, FakeDesk, application, auth, scope, translating
from tests.routes.translating import visiting as visitor
from tests.serving import Server

HELLO = {"source_lang": "auto", "target_lang": "ZH", "text": "Hello"}
DATA = "[zh-Hans] Hello"


@pytest.fixture
def http(running: tuple[FakeDesk, Server]) -> Iterator[httpx2.Client]:
    """Shows a token in a header."""
    with visitor(running[1]) as client:
        client.headers["authorization"] = f"Bearer {TOKEN}"
        yield client


@pytest.fixture
def visiting(running: tuple[FakeDesk, Server]) -> Iterator[httpx2.Client]:
    with visitor(running[1]) as client:
        yield client


@pytest.mark.usefixtures("desk")
def test_an_answer_is_the_one_that_deeplx_gives(http: httpx2.Client) -> None:
    response = http.post("/translate", json=HELLO)
    body = response.json()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert isinstance(body.pop("id"), int)
    assert body == {
        "code": 200,
        "data": DATA,
        "alternatives": [],
        "source_lang": "EN",
        "target_lang": "ZH",
        "method": "Free",
    }


KEYS_IN_URLS = [
    "/translate?token=token%2Bof-a-reader",
    "/translate?token=token+of-a-reader",
    f"/translate?token={API_KEY}",
    f"/translate?password={API_KEY}",
    f"/translate?key=wrong&key={API_KEY}",
    f"/translate?auth_key={API_KEY}",
    "/t/token%2Bof-a-reader/translate",
    "/token+of-a-reader/translate",
    f"/{API_KEY}/translate",
    f"/{API_KEY}//translate/",
]


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("url", KEYS_IN_URLS)
def test_immersive_translate_and_read_frog_put_the_key_into_the_url(visiting: httpx2.Client, url: str) -> None:
    response = visiting.post(url, json=HELLO)
    assert (response.status_code, response.json()["code"], response.json()["data"]) == (200, 200, DATA)


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer"},  # what is left of Bob's `Bearer ` where its user has set no token
        {"authorization": "Bearer dummy"},
        {},
    ],
)
def test_a_key_in_the_url_counts_beside_whatever_a_header_says(
    visiting: httpx2.Client, headers: dict[str, str]
) -> None:
    assert visiting.post(f"/translate?token={API_KEY}", json=HELLO, headers=headers).status_code == 200


@pytest.mark.parametrize("authorization", ["Bearer", "Bearer anything"])
def test_bob_needs_no_key_where_none_is_set(authorization: str) -> None:
    with translating(FakeDesk(), auth(keys=(), tokens=())) as server, visitor(server) as client:
        response = client.post("/translate", json=HELLO, headers={"authorization": authorization})
    assert (response.status_code, response.json()["data"]) == (200, DATA)


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("/translate", {}),
        ("/translate", {"authorization": "Bearer"}),
        ("/translate?token=wrong", {}),
        ("/wrong/translate", {}),
        ("/t/wrong/translate", {"authorization": "Bearer wrong"}),
    ],
)
def test_a_wrong_key_is_401_in_deeplx_words(
    visiting: httpx2.Client, desk: FakeDesk, url: str, headers: dict[str, str]
) -> None:
    response = visiting.post(url, json=HELLO, headers=headers)
    assert response.status_code == 401
    assert response.json()["code"] == 401
    assert response.json()["message"].startswith("Invalid access token. ")
    assert "TRANSLATE_TOKENS" in response.json()["message"]
    assert "wrong" not in response.json()["message"]
    assert desk.wishes == []


@pytest.mark.parametrize(
    ("text", "source", "target", "tags"),
    [
        ("@0#link@1#", "auto", "ZH", (None, "zh-Hans")),
        ("text", "", "ZH-HANT", (None, "zh-Hant")),
        ("text", None, "zh_tw", (None, "zh-Hant")),
        ("text", "EN", "PT-BR", ("en", "pt-BR")),
        ("text", "ja", "NB", ("ja", "no")),
        ("text", "AUTO", "vi", (None, "vi")),
        ("text", "zh", "zh-HK", ("zh", "zh-Hant-HK")),
    ],
)
def test_codes_come_in_any_form(
    http: httpx2.Client, desk: FakeDesk, text: str, source: str | None, target: str, tags: tuple[str | None, str]
) -> None:
    body = http.post("/translate", json={"text": text, "source_lang": source, "target_lang": target}).json()
    assert (desk.wish.source, desk.wish.target) == tags
    assert body["data"] == f"[{tags[1]}] {text}"
    assert body["target_lang"] == target.upper()


@pytest.mark.parametrize(("source", "answered"), [("en", "EN"), ("zh-Hant", "ZH"), ("no", "NB"), ("pt-BR", "PT")])
def test_the_source_is_told_as_deepl_names_sources(
    http: httpx2.Client, desk: FakeDesk, source: str, answered: str
) -> None:
    assert http.post("/translate", json=HELLO | {"source_lang": source}).json()["source_lang"] == answered
    assert desk.wish.source is not None


def test_a_wish_has_all_that_was_asked_for(http: httpx2.Client, desk: FakeDesk) -> None:
    body = HELLO | {
        "tag_handling": "HTML",
        "model": "some-model",
        "context": "A menu",
        "formality": "prefer_more",
        "glossary": {"fork": "Gabel"},
        "alternatives": 2,
    }
    answer = http.post("/translate", json=body).json()
    manner = Manner("more", "A menu", glossary={"fork": "Gabel"})
    assert desk.wish == Wish(("Hello",), "zh-Hans", model="some-model", markup="html", manner=manner, alternatives=2)
    assert answer["alternatives"] == ["0", "1"]


MULTIPART = (
    b'--x\r\ncontent-disposition: form-data; name="text"\r\n\r\nHello\r\n'
    b'--x\r\ncontent-disposition: form-data; name="target_lang"\r\n\r\nZH\r\n'
    b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--x--\r\n'
)


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b'{"text":"Hello","target_lang":"ZH"}', "application/json"),
        (b'\xef\xbb\xbf {"text":"Hello","target_lang":"ZH"}', "text/plain"),
        (b'{"text":"Hello","target_lang":"ZH"}', "application/x-www-form-urlencoded"),
        (b"text=Hello&target_lang=ZH&source_lang=", "application/x-www-form-urlencoded"),
        (b"text=Hello&target_lang=ZH", ""),
        (MULTIPART, "Multipart/form-data; boundary=x"),
    ],
)
def test_a_body_is_read_whatever_it_is_called(
    http: httpx2.Client, desk: FakeDesk, content: bytes, content_type: str
) -> None:
    headers = {"content-type": content_type} if content_type else {}
    assert http.post("/translate", content=content, headers=headers).json()["data"] == DATA
    assert desk.wish.texts == ("Hello",)


@pytest.mark.parametrize(
    ("content", "content_type", "message"),
    [
        (b'{"text":', "application/json", "not valid JSON"),
        (b"[1]", "application/json", "an object"),
        (b"text=Hello", "application/json", "not valid JSON"),
        (b"text=a&" * 10_001, "application/x-www-form-urlencoded", "10000 fields"),
        (b"x", "multipart/form-data", "boundary"),
    ],
)
def test_a_body_that_can_not_be_read_is_400(
    http: httpx2.Client, desk: FakeDesk, content: bytes, content_type: str, message: str
) -> None:
    response = http.post("/translate", content=content, headers={"content-type": content_type})
    assert (response.status_code, response.json()["code"]) == (400, 400)
    assert message in response.json()["message"]
    assert desk.wishes == []


@pytest.mark.parametrize("path", ["/translate", "/v1/translate", "/t/token+of-a-reader/translate"])
def test_a_link_does_the_same(visiting: httpx2.Client, desk: FakeDesk, path: str) -> None:
    query = {"text": "你好", "target_lang": "EN", "source_lang": "ZH", "token": API_KEY}
    body = visiting.get(path, params=query).json()
    assert (body["data"], body["source_lang"]) == ("[en] 你好", "ZH")
    assert desk.wish == Wish(("你好",), "en", "zh")


def test_the_body_comes_before_the_query(http: httpx2.Client, desk: FakeDesk) -> None:
    http.post("/translate?model=from-the-url&target_lang=DE", json=HELLO)
    assert (desk.wish.model, desk.wish.target) == ("from-the-url", "zh-Hans")


@pytest.mark.parametrize("name", ["text", "text[]"])
def test_several_texts_in_a_link_are_a_list(http: httpx2.Client, desk: FakeDesk, name: str) -> None:
    body = http.get(f"/translate?{name}=a&{name}=b&target_lang=DE").json()
    assert body["data"] == ["[de] a", "[de] b"]
    assert desk.wish.texts == ("a", "b")


def test_a_list_is_answered_with_a_list(http: httpx2.Client, desk: FakeDesk) -> None:
    body = http.post("/translate", json=HELLO | {"text": ["a", "", " ", "b"], "alternatives": 3}).json()
    assert body["data"] == ["[zh-Hans] a", "", " ", "[zh-Hans] b"]
    assert body["alternatives"] == []
    assert desk.wish.texts == ("a", "b")


@pytest.mark.usefixtures("desk")
def test_the_paths_differ_in_their_method(http: httpx2.Client) -> None:
    assert http.post("/v1/translate", json=HELLO).json()["method"] == "Pro"
    assert http.post(f"/{API_KEY}/translate", json=HELLO).json()["method"] == "Free"


@pytest.mark.parametrize("path", ["/v3/translate", f"/a/{API_KEY}/translate", f"/{API_KEY}/v1/translate"])
def test_a_token_is_one_segment_and_no_version(http: httpx2.Client, path: str) -> None:
    response = http.post(path, json=HELLO)
    assert response.status_code == 404
    assert response.text == "Not Found"  # the router's own: main tells it in its own words


@pytest.mark.parametrize(
    ("changed", "status", "message"),
    [
        ({"text": ""}, 404, "No text to translate"),
        ({"text": None}, 404, "No text to translate"),
        ({"text": []}, 404, "No text to translate"),
        ({"text": ["", ""]}, 404, "No text to translate"),
        ({"text": 1}, 400, "'text'"),
        ({"text": ["a", None]}, 400, "'text[1]'"),
        ({"text": ["a"] * 1001}, 400, "1000"),
        ({"target_lang": None}, 400, "'target_lang' is missing"),
        ({"target_lang": "auto"}, 400, "'target_lang' is missing"),
        ({"target_lang": "klingonese"}, 400, "'klingonese' in 'target_lang' is not supported"),
        ({"source_lang": "klingonese"}, 400, "'klingonese' in 'source_lang' is not supported"),
        ({"tag_handling": "foo"}, 400, "'html' or 'xml'"),
        ({"tag_handling": 1}, 400, "'html' or 'xml'"),
        ({"formality": "rude"}, 400, "'formality'"),
        ({"formality": 1}, 400, "'formality'"),
        ({"glossary": "a"}, 400, "'glossary'"),
        ({"alternatives": 6}, 400, "'alternatives'"),
        ({"text": "a" * MAX_BYTES}, 413, str(MAX_BYTES)),
    ],
)
def test_what_can_not_be_done_is_told_with_the_status_as_code(
    http: httpx2.Client, desk: FakeDesk, changed: dict[str, Any], status: int, message: str
) -> None:
    response = http.post("/translate", json=HELLO | changed)
    assert (response.status_code, response.json()["code"]) == (status, status)
    assert set(response.json()) == {"code", "message"}
    assert message in response.json()["message"]
    assert desk.wishes == []


@pytest.mark.parametrize("text", [" ", "\n\n", "\u3000"])
def test_white_space_is_its_own_translation(http: httpx2.Client, desk: FakeDesk, text: str) -> None:
    response = http.post("/translate", json=HELLO | {"text": text})
    assert (response.status_code, response.json()["data"], response.json()["source_lang"]) == (200, text, "EN")
    assert [name for name in response.headers if name.startswith("x-flarelay")] == []
    assert desk.wishes == []


@pytest.mark.parametrize(
    ("failure", "status", "message"),
    [
        (AuthenticationError("Cloudflare refuses the token."), 401, "Invalid access token. Cloudflare refuses"),
        (ModelNotFoundError("x"), 404, "'x' does not exist"),
        (RateLimitError("Slower."), 429, "Slower."),
        (RateLimitError("Spent.", code="daily_limit_reached"), 429, "Spent."),
        (InternalServerError("Broken.", status=502), 503, "Broken."),
        (InternalServerError("Busy.", status=503), 503, "Busy."),
        (InternalServerError("Late.", status=504), 503, "Late."),
    ],
)
def test_a_failure_of_the_desk_has_the_same_shape(
    http: httpx2.Client, desk: FakeDesk, failure: APIStatusError, status: int, message: str
) -> None:
    desk.failure = failure
    response = http.post("/translate", json=HELLO)
    assert (response.status_code, response.json()["code"]) == (status, status)
    assert message in response.json()["message"]
    assert "retry-after" not in response.headers


def test_a_limit_tells_when_to_come_again(http: httpx2.Client, desk: FakeDesk) -> None:
    desk.failure = RateLimitError("Slower.", retry_after_seconds=7.2, should_retry=True)
    response = http.post("/translate", json=HELLO)
    assert (response.headers["retry-after"], response.headers["x-should-retry"]) == ("7", "true")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused_without_telling_the_key(http: httpx2.Client, method: str) -> None:
    response = http.request(method, f"/{API_KEY}/translate")
    assert (response.status_code, response.json()["code"]) == (405, 405)
    assert response.json()["message"] == f"/{{token}}/translate takes GET and POST, not {method}."


@pytest.mark.parametrize(
    ("outcome", "headers"),
    [
        ({}, {"model": MODEL, "neurons": "1.25", "cache": "miss"}),
        ({"units": 3, "cached": 2}, {"model": MODEL, "neurons": "1.25", "cache": "partial"}),
        ({"units": 3, "cached": 3, "neurons": None}, {"model": MODEL, "cache": "hit"}),
        (
            {"remedies": ("smaller-pieces", "fallback-model")},
            {"model": MODEL, "neurons": "1.25", "cache": "miss", "remedy": "smaller-pieces, fallback-model"},
        ),
    ],
)
def test_headers_tell_how_it_was_done(
    http: httpx2.Client, desk: FakeDesk, outcome: dict[str, Any], headers: dict[str, str]
) -> None:
    desk.outcome = outcome
    response = http.post("/translate", json=HELLO)
    found = {name: value for name, value in response.headers.items() if name.startswith("x-flarelay-")}
    assert found == {f"x-flarelay-{name}": value for name, value in headers.items()}


@pytest.mark.usefixtures("desk")
def test_fields_without_an_effect_are_named(http: httpx2.Client) -> None:
    response = http.post(f"/translate?key={API_KEY}&für=1", json=HELLO | {"speed\n": "fast", "empty": None})
    assert response.headers["x-flarelay-ignored"] == r"f\xfcr, speed\n"


def test_immersive_translates_custom_api_keeps_number_and_order(http: httpx2.Client, desk: FakeDesk) -> None:
    texts = [f"text {{{number}}}" for number in range(9)] + [""]
    body = {"source_lang": "auto", "target_lang": "zh-TW", "text_list": texts}
    answer = http.post("/translate", json=body).json()
    expected = [{"detected_source_lang": "en", "text": f"[zh-Hant] {text}"} for text in texts[:9]]
    assert answer == {"translations": [*expected, {"detected_source_lang": "en", "text": ""}]}
    assert desk.wish.texts == tuple(texts[:9])


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"text_list": []}, {"translations": []}),
        (
            {"text_list": "one", "source_lang": "zh"},
            {"translations": [{"detected_source_lang": "zh-CN", "text": "[zh-Hans] one"}]},
        ),
    ],
)
def test_the_custom_api_takes_any_number(http: httpx2.Client, fields: dict[str, Any], answer: Any) -> None:
    assert http.post("/translate", json={"target_lang": "zh-CN"} | fields).json() == answer


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"text": "a", "from": "auto", "to": "zh-CN"}, {"text": "[zh-Hans] a", "src": "en"}),
        (
            {"texts": ["a", "b"], "from": "ja", "to": "zh-CN"},
            [{"text": "[zh-Hans] a", "src": "ja"}, {"text": "[zh-Hans] b", "src": "ja"}],
        ),
    ],
)
def test_kiss_translators_custom_api_is_answered_in_its_shape(
    http: httpx2.Client, desk: FakeDesk, fields: dict[str, Any], answer: Any
) -> None:
    assert http.post("/translate", json=fields).json() == answer
    assert desk.wish.target == "zh-Hans"


@pytest.mark.usefixtures("desk")
def test_kiss_translator_as_a_client_of_deeplx(http: httpx2.Client) -> None:
    body = {"text": "one two", "source_lang": "auto", "target_lang": "ZH-HANT"}
    answer = http.post("/translate", json=body, headers={"authorization": f"Bearer {API_KEY}"}).json()
    assert (answer["data"], answer["source_lang"]) == ("[zh-Hant] one two", "EN")


@pytest.mark.anyio
async def test_the_log_tells_what_was_done() -> None:
    app = application(FakeDesk(), auth())
    asked = scope("/translate", query=f"token={API_KEY}")
    await app.router(asked, Client([piece(b'{"text":"a","target_lang":"DE","model":"name"}')]).receive, Client().send)
    record = asked["record"]
    assert (record.model, record.ran, record.error) == ("name", MODEL, None)
    assert record.usage.neurons == 1.25
    assert record.caller not in (None, "anonymous", API_KEY)


@pytest.mark.anyio
async def test_the_log_has_the_failure() -> None:
    asked = scope("/translate", query="token=wrong")
    client = Client([piece(b"")])
    await application(FakeDesk(), auth()).router(asked, client.receive, client.send)
    assert (asked["record"].error, asked["record"].caller) == ("invalid_api_key", None)


@pytest.mark.anyio
async def test_a_client_that_leaves_ends_the_translation() -> None:
    desk = FakeDesk(is_stuck=True)
    client = Client([piece(b'{"text":"a","target_lang":"DE"}')])
    asked = scope("/translate", query=f"token={API_KEY}")
    task = asyncio.create_task(application(desk, auth()).router(asked, client.receive, client.send))
    await desk.is_asked.wait()
    client.leave()
    with pytest.raises(ClientLeft):
        await task
    assert client.got == []

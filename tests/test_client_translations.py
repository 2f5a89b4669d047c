"""Clients of DeepLX: what each sends, and what it takes for a translation. Tests are numbered as in the checklist of
clients.
"""

from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import httpx2
import openai
import orjson
import pytest

from app.languages.scripts import han_variant
from app.translation.chinese import is_form
from tests.interpreting import said
from tests.serving import KEY, NO_TLS, Cloudflare, Server, flarelay, payloads

HELLO = "The weather is nice today."
NICE = said(HELLO)
TEXTS = ["One day it rained.", "", "The sea was calm.", "It is late.", "We are at home.", "The sea was calm."]
TEXTS += ["A {0}link{1} is here", "  She sings. ", "Numbers: 12 and 34.", "The end."]


@pytest.fixture
def web(server: Server) -> Iterator[httpx2.Client]:
    """Shows no key, as extensions that can set no header."""
    with httpx2.Client(base_url=server.url, verify=NO_TLS, timeout=20) as client:
        yield client


def immersive(response: httpx2.Response) -> str:
    """Immersive Translate's check."""
    body = response.json()
    assert response.is_success
    assert type(body["code"]) is int
    assert body["code"] == 200
    assert type(body["data"]) is str
    return str(body["data"])


def bob(response: httpx2.Response) -> str:
    """Bob's check, which is also that of Pot: `data` must not be empty. It joins `alternatives`."""
    body = response.json()
    assert response.status_code == 200
    assert body["data"]
    return "\n".join([body["data"], *(body["alternatives"] or [])])


def kiss(response: httpx2.Response) -> str:
    """KISS Translator compares the source with the target."""
    body = response.json()
    assert response.is_success
    assert body["source_lang"] == "EN"
    return str(body["data"])


def read_frog(response: httpx2.Response) -> str:
    assert response.is_success
    data = response.json()["data"]
    assert type(data) is str
    return str(data)


@pytest.mark.parametrize("path", ["/translate?token={key}", "/{key}/translate", "/t/{key}/translate"])
def test_row_15_immersive_deeplx_has_its_key_in_the_url(web: httpx2.Client, path: str) -> None:
    body = {"source_lang": "auto", "target_lang": "ZH", "text": HELLO}
    response = web.post(path.format(key=KEY), json=body)
    assert immersive(response) == NICE
    assert response.json()["source_lang"] == "EN"
    assert response.json()["method"] == "Free"


def test_row_15_immersive_deeplx_with_rich_text_keeps_its_tags(web: httpx2.Client) -> None:
    body = {"source_lang": "auto", "target_lang": "DE", "text": "It is <b>late</b> &amp; dark.", "tag_handling": "html"}
    data = immersive(web.post(f"/translate?token={KEY}", json=body))
    assert data.count("<b>") == data.count("</b>") == data.count("&amp;") == 1
    assert data.index("<b>") < data.index("</b>")


TARGETS = ["ZH-HANT", "PT-BR", "NB", "vi", "zh-HK", "yue", "zh-TW", "th", "hi", "fil", "zh_hant", "PT_br", "Nb", "VIE"]


@pytest.mark.parametrize("target", [case for code in TARGETS for case in {code, code.lower(), code.upper()}])
def test_row_16_immersive_deeplx_names_languages_in_any_case(web: httpx2.Client, target: str) -> None:
    text = "Read the @0#whole story@1# on the @2#next@3# page."
    body = {"source_lang": "auto", "target_lang": target, "text": text}
    data = immersive(web.post(f"/translate?token={KEY}", json=body))
    assert data != text
    assert [data.count(f"@{number}#") for number in range(4)] == [1, 1, 1, 1]
    assert data.index("@0#") < data.index("@1#")
    assert data.index("@2#") < data.index("@3#")


@pytest.mark.parametrize(
    ("target", "form"), [("ZH-HANT", "zh-Hant"), ("zh-TW", "zh-Hant"), ("zh-HK", "zh-Hant-HK"), ("yue", "zh-Hant-HK")]
)
def test_row_16_traditional_chinese_is_traditional(web: httpx2.Client, target: str, form: str) -> None:
    text = "The country has many people, and the weather of the sea is read in the books of the doctor."
    data = immersive(web.post(f"/translate?token={KEY}", json={"target_lang": target, "text": text}))
    assert han_variant(data) == "hant"
    assert is_form(data, form)
    assert data == said(text, "en", form)


def test_row_17_immersive_custom_api_gets_as_many_as_it_sent(web: httpx2.Client) -> None:
    body = {"source_lang": "auto", "target_lang": "zh-CN", "text_list": TEXTS}
    response = web.post(f"/translate?token={KEY}", json=body)
    rows = response.json()["translations"]
    assert response.status_code == 200
    assert len(rows) == len(TEXTS) == 10
    assert all(type(row["text"]) is str and row["detected_source_lang"] == "en" for row in rows)
    assert [row["text"] for row in rows[:6]] == [said(text) for text in TEXTS[:6]]
    assert rows[6]["text"].count("{0}") == rows[6]["text"].count("{1}") == 1
    assert rows[7]["text"] == f"  {said('She sings.')} "
    assert "12" in rows[8]["text"]
    assert "34" in rows[8]["text"]


PARTS = ["First.", "Second, which is longer.", "Third?", "Fourth!"]
JOINED = "\n\n%%\n\n".join(PARTS)


@pytest.mark.parametrize("stream", [False, True])
def test_row_18_immersive_openai_shows_its_key_twice(web: httpx2.Client, stream: bool) -> None:
    headers = {"authorization": f"Bearer {KEY}", "api-key": KEY, "accept-language": "zh-CN"}
    content = f"Translate to zh-CN (output translation only):\n\n{JOINED}\n!emulate " + '{"text": "一\\n\\n%%\\n\\n二'
    content += '\\n\\n%%\\n\\n三\\n\\n%%\\n\\n四"}'
    system = "You are a professional translation engine."
    messages = [{"role": "system", "content": system}, {"role": "user", "content": content}]
    body: dict[str, Any] = {"model": "gpt-4o-mini", "temperature": 0, "messages": messages}
    response = web.post("/v1/chat/completions", json=body | {"stream": stream}, headers=headers)
    assert response.status_code == 200
    if not stream:
        answer = response.json()["choices"][0]["message"]["content"]
    else:
        choices = [event["choices"][0] for event in payloads(response.text) if event != "[DONE]"]
        ends = [choice for choice in choices if choice["finish_reason"]]
        assert [end["delta"] for end in ends] == [{}]
        answer = "".join(choice["delta"].get("content", "") for choice in choices)
    assert answer.strip().split("\n\n%%\n\n") == ["一", "二", "三", "四"]


def test_row_18_paragraphs_joined_by_separators_stay_apart(web: httpx2.Client) -> None:
    data = immersive(web.post(f"/translate?token={KEY}", json={"target_lang": "ZH", "text": JOINED}))
    assert data.split("\n\n%%\n\n") == [said(part) for part in PARTS]


@pytest.mark.parametrize("path", ["/translate", "/v1/chat/completions", f"/{KEY}/translate", "/v2/translate"])
def test_row_19_a_userscript_asks_before_it_calls(web: httpx2.Client, path: str) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    response = web.options(path, headers={"origin": "https://example.org"} | asked)
    assert response.is_success
    assert response.headers["access-control-allow-origin"] == "*"
    assert "POST" in response.headers["access-control-allow-methods"]
    allowed = response.headers["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "content-type"} <= {name for each in allowed for name in each.split(",")}


def bare_bearer(server: Server, path: str) -> tuple[int, Any]:
    """Status and body. The client of the other tests refuses to send such a header."""
    body = orjson.dumps({"text": HELLO, "source_lang": "EN", "target_lang": "ZH"})
    with closing(HTTPConnection(server.url.removeprefix("http://"), timeout=20)) as connection:
        connection.request("POST", path, body, {"authorization": "Bearer ", "content-type": "application/json"})
        response = connection.getresponse()
        return response.status, orjson.loads(response.read())


def test_row_20_bob_shows_an_empty_bearer_where_no_key_is_needed(upstream: Cloudflare) -> None:
    with flarelay(upstream, api_keys="") as server:
        status, body = bare_bearer(server, "/translate")
    assert (status, body["data"]) == (200, NICE)


def test_an_empty_bearer_is_no_key(server: Server) -> None:
    assert bare_bearer(server, "/translate")[0] == 401
    assert bare_bearer(server, f"/translate?token={KEY}")[0] == 200


@pytest.mark.parametrize(
    ("token", "changes", "status", "message"),
    [
        (KEY, {"text": ""}, 404, "No text to translate"),
        ("wrong", {}, 401, "Invalid access token"),
        ("", {}, 401, "Invalid access token"),
        (KEY, {"tag_handling": "foo"}, 400, "tag_handling"),
        (KEY, {"target_lang": "klingonese"}, 400, "klingonese"),
        (KEY, {"target_lang": None}, 400, "target_lang"),
    ],
)
def test_row_21_refusals_have_the_status_as_code(
    web: httpx2.Client, token: str, changes: dict[str, Any], status: int, message: str
) -> None:
    response = web.post(f"/translate?token={token}", json={"text": HELLO, "target_lang": "ZH"} | changes)
    assert response.status_code == status
    assert response.json().keys() == {"code", "message"}
    assert response.json()["code"] == status
    assert message in response.json()["message"]


@pytest.mark.parametrize("target", ["ZH", "ZH-HANT", "JA"])
def test_row_22_read_frog_appends_its_key_and_translate(web: httpx2.Client, target: str) -> None:
    data = read_frog(web.post(f"/{KEY}/translate", json={"source_lang": "auto", "target_lang": target, "text": HELLO}))
    assert data == said(HELLO, "en", {"ZH": "zh-Hans", "ZH-HANT": "zh-Hant", "JA": "ja"}[target])


def test_bob_joins_the_alternatives_to_the_translation(web: httpx2.Client) -> None:
    """Plain ones have none, so that it shows one."""
    body = {"text": HELLO, "source_lang": "EN", "target_lang": "ZH"}
    assert bob(web.post("/translate", json=body, headers={"authorization": f"Bearer {KEY}"})) == NICE


def test_pot_and_zotero_send_no_key_but_what_is_in_the_url(web: httpx2.Client) -> None:
    for source in ("auto", "EN"):
        body = {"text": HELLO, "source_lang": source, "target_lang": "ZH"}
        assert bob(web.post(f"/translate?token={KEY}", json=body)) == NICE


@pytest.mark.parametrize(("target", "form"), [("ZH-HANS", "zh-Hans"), ("ZH-HANT", "zh-Hant")])
@pytest.mark.parametrize("source", ["auto", "EN"])
def test_stranslate_and_kiss_name_the_form_of_chinese(web: httpx2.Client, source: str, target: str, form: str) -> None:
    body = {"text": HELLO, "source_lang": source, "target_lang": target}
    data = kiss(web.post("/translate", json=body, headers={"authorization": f"Bearer {KEY}"}))
    assert data == said(HELLO, "en", form)


def test_kiss_has_a_custom_api_of_its_own(web: httpx2.Client) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    one = web.post("/translate", json={"text": HELLO, "from": "auto", "to": "zh-CN"}, headers=headers)
    several = web.post("/translate", json={"texts": TEXTS, "from": "auto", "to": "zh-TW"}, headers=headers)
    assert one.json() == {"text": NICE, "src": "en"}
    assert len(several.json()) == len(TEXTS)
    assert [row["text"] for row in several.json()][:6] == [said(text, "en", "zh-Hant") for text in TEXTS[:6]]


@pytest.mark.parametrize("source", ["", "en", "EN"])
def test_immersive_deepl_sends_a_form(web: httpx2.Client, source: str) -> None:
    """An empty `source_lang` leaves the language to us."""
    form = {"text": ["It is late.", HELLO, "It is late."], "target_lang": "ZH", "source_lang": source}
    headers = {"authorization": f"DeepL-Auth-Key {KEY}"}
    rows = web.post("/v2/translate", data=form | {"model_type": "quality_optimized"}, headers=headers).json()
    assert [row["text"] for row in rows["translations"]] == [said("It is late."), NICE, said("It is late.")]
    assert {row["detected_source_language"] for row in rows["translations"]} == {"EN"}


def test_openai_translator_asks_as_a_chat(client: openai.OpenAI) -> None:
    hidden = ("text-", "dall-", "tts-", "whisper")
    assert [model.id for model in client.models.list() if not model.id.startswith(hidden)]
    content = f'Please translate this text from English to German:\n\n{HELLO}\n!emulate {{"text": "Das Wetter"}}'
    stream = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": content}],
        temperature=0,
        top_p=1,
        frequency_penalty=1,
        presence_penalty=1,
        stream=True,
    )
    choices = [chunk.choices[0] for chunk in stream if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices if not choice.finish_reason) == "Das Wetter"


def test_texts_that_are_in_the_target_come_back(web: httpx2.Client) -> None:
    """Bob and Pot take an empty `data` for a failure."""
    for text in (HELLO, "42", "🙂", " \n "):
        body = {"text": text, "source_lang": "auto", "target_lang": "EN"}
        assert bob(web.post(f"/translate?token={KEY}", json=body)) == text

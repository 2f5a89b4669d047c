"""Keys of readers: everywhere that they may stand, what they open, and where they must not show up."""

import logging
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.interpreting import said
from tests.serving import KEY, NO_TLS, Cloudflare, Server, flarelay

TOKEN = "token-of-a-reader"
TEXT = "The weather is nice today."
DEEPLX = {"text": TEXT, "target_lang": "DE"}
DEEPL = {"text": [TEXT], "target_lang": "DE"}
ORIGIN = {"origin": "https://example.org"}

HEADERS = [
    {"authorization": "Bearer {}"},
    {"authorization": "bearer {}"},
    {"authorization": "DeepL-Auth-Key {}"},
    {"authorization": "{}"},
    {"x-api-key": "{}"},
    {"api-key": "{}"},
    {"authorization": "Bearer {}", "api-key": "{}"},
]
PATHS = [
    "/translate?token={}",
    "/translate?password={}",
    "/translate?key={}",
    "/{}/translate",
    "/t/{}/translate",
    "/v1/translate?token={}",
    "/{}//translate/",
]


@pytest.fixture(scope="module")
def guarded(upstream: Cloudflare) -> Iterator[Server]:
    with flarelay(upstream, translate_tokens=TOKEN) as running:
        yield running


@pytest.fixture
def web(guarded: Server) -> Iterator[httpx2.Client]:
    """Shows no key of its own."""
    with httpx2.Client(base_url=guarded.url, verify=NO_TLS, timeout=20) as client:
        yield client


@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("key", [KEY, TOKEN])
def test_a_key_in_a_header_opens_every_api(web: httpx2.Client, headers: dict[str, str], key: str) -> None:
    shown = {name: value.format(key) for name, value in headers.items()}
    deeplx = web.post("/translate", json=DEEPLX, headers=shown)
    deepl = web.post("/v2/translate", json=DEEPL, headers=shown)
    assert deeplx.json()["data"] == deepl.json()["translations"][0]["text"] == said(TEXT, "en", "de")
    assert web.get("/v2/usage", headers=shown).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", [KEY, TOKEN])
def test_a_key_in_the_url_opens_translation(web: httpx2.Client, path: str, key: str) -> None:
    assert web.post(path.format(key), json=DEEPLX).json()["data"] == said(TEXT, "en", "de")
    assert web.post(f"/v2/translate?token={key}", json=DEEPL).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_a_wrong_key_in_the_url_is_refused(web: httpx2.Client, path: str) -> None:
    response = web.post(path.format("wrong"), json=DEEPLX)
    assert response.status_code == 401
    assert response.json()["code"] == 401
    assert response.json().keys() == {"code", "message"}
    assert "wrong" not in response.text


@pytest.mark.parametrize("headers", [{}, {"authorization": "DeepL-Auth-Key wrong"}])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v2/translate"), ("GET", "/v2/usage"), ("GET", "/v2/languages"), ("GET", "/v2/glossaries")],
)
def test_deepl_refuses_with_403(web: httpx2.Client, headers: dict[str, str], method: str, path: str) -> None:
    response = web.request(method, path, json=DEEPL, headers=headers)
    assert response.status_code == 403
    assert all(type(response.json()[name]) is str for name in response.json())
    assert response.json()["message"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/embeddings", "/v1/run/a/b", "/models"])
def test_tokens_of_readers_open_nothing_else(web: httpx2.Client, path: str) -> None:
    method = "GET" if path.endswith("models") else "POST"
    response = web.request(method, path, json={}, headers={"authorization": f"Bearer {TOKEN}"})
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")
    in_url = web.request(method, f"{path}?token={KEY}&key={KEY}", json={})
    assert in_url.status_code == 401


def test_a_key_never_gets_into_the_log(web: httpx2.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "flarelay"):
        for path in PATHS:
            for key in (KEY, TOKEN, "sk-wrong"):
                web.post(path.format(key), json=DEEPLX)
        for key in (KEY, TOKEN, "sk-wrong"):
            web.post("/translate", json=DEEPLX, headers={"authorization": f"Bearer {key}"})
            web.post("/v2/translate", json=DEEPL, headers={"authorization": f"DeepL-Auth-Key {key}"})
            web.post(f"/translate?token={key}", json={"text": "a", "target_lang": "klingonese"})
    lines = [f"{record.getMessage()} {record.__dict__}" for record in caplog.records if record.name == "flarelay"]
    assert len(lines) > len(PATHS) * 3
    assert not [line for line in lines if any(key in line for key in (KEY, TOKEN, "sk-wrong"))]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/translate?token=wrong", DEEPLX, 401),
        ("/wrong/translate", DEEPLX, 401),
        (f"/translate?token={TOKEN}", {"text": "", "target_lang": "DE"}, 404),
        (f"/translate?token={TOKEN}", {"text": "a", "target_lang": "xx-none"}, 400),
        ("/v2/translate", DEEPL, 403),
        (f"/v2/translate?token={TOKEN}", {"text": []}, 400),
        (f"/v2/document?token={TOKEN}", {}, 404),
    ],
)
def test_a_web_page_can_read_why_it_is_refused(web: httpx2.Client, path: str, body: Any, status: int) -> None:
    response = web.post(path, json=body, headers=ORIGIN)
    assert response.status_code == status
    assert response.headers["access-control-allow-origin"] == "*"
    assert "x-flarelay-remedy" in response.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "path", ["/translate", f"/{TOKEN}/translate", f"/t/{TOKEN}/translate", "/v2/translate", "/v2/usage"]
)
def test_a_web_page_may_send_its_headers(web: httpx2.Client, path: str) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "Authorization, Content-Type"}
    response = web.options(path, headers=ORIGIN | asked)
    assert response.status_code in (200, 204)
    assert response.headers["access-control-allow-origin"] == "*"
    assert {"authorization", "content-type"} <= {
        name.strip().lower() for name in response.headers["access-control-allow-headers"].split(",")
    }


def test_a_key_of_a_reader_is_not_sent_upstream(upstream: Cloudflare, web: httpx2.Client) -> None:
    upstream.emulator.requests.clear()
    web.post(f"/translate?token={TOKEN}", json={"text": "Nobody has sent this key upstream.", "target_lang": "FR"})
    (request,) = upstream.emulator.requests
    assert TOKEN not in f"{request.query} {request.headers} {request.body} {request.path}"

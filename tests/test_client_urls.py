"""How clients address the server: forms of the URL, places for the key, and pages of other origins."""

from collections.abc import Iterator

import httpx2
import pytest

from app.main import create_app
from tests.serving import KEY, NATIVE, UNLISTED, Cloudflare, Server, asked, cloudflare, flarelay, raw, serving, settings

PATHS = [
    "/v1/chat/completions",
    "//v1/chat/completions",
    "/v1//chat/completions",
    "/v1/v1/chat/completions",
    "/chat/completions",
    "/v1/chat/completions/",
    "/chat/completions//",
]

CREDENTIALS = [
    {"authorization": f"Bearer {KEY}"},
    {"authorization": f"bearer {KEY}"},
    {"authorization": f"Bearer   {KEY}"},
    {"authorization": KEY},
    {"authorization": f"DeepL-Auth-Key {KEY}"},
    {"x-api-key": KEY},
    {"api-key": KEY},
    {"authorization": f"Bearer {KEY}", "x-api-key": KEY},
    {"authorization": f"Bearer {KEY}", "api-key": KEY},
    {"authorization": "Bearer", "x-api-key": KEY},
    {"authorization": "Bearer sk-dummy", "x-api-key": KEY},
]

STAINLESS = "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-retry-count,x-title"


@pytest.fixture(scope="module")
def stranger(server: Server) -> Iterator[httpx2.Client]:
    """A client without a key, which follows no redirect."""
    with httpx2.Client(base_url=server.url) as client:
        yield client


def post(client: httpx2.Client, path: str = "/v1/chat/completions", **headers: str) -> httpx2.Response:
    # as an absolute URL: against a base URL, httpx would collapse the slashes itself
    return client.post(f"{client.base_url}".rstrip("/") + path, json=asked("Hello"), headers=headers)


@pytest.mark.parametrize("path", PATHS)
def test_one_api_and_others_may_misspell_the_base_url(stranger: httpx2.Client, path: str) -> None:
    response = post(stranger, path, authorization=f"Bearer {KEY}")
    assert (response.status_code, response.request.url.raw_path.decode()) == (200, path)
    assert response.json()["object"] == "chat.completion"


@pytest.mark.parametrize("path", ["/v1/models", "/models", "//v1/models/", "/v1/v1/models"])
def test_the_list_of_models_has_as_many_addresses(stranger: httpx2.Client, path: str) -> None:
    response = stranger.get(f"{stranger.base_url}".rstrip("/") + path, headers={"authorization": f"Bearer {KEY}"})
    assert (response.status_code, response.json()["object"]) == (200, "list")


@pytest.mark.parametrize("prefix", ["/v1/models", "/models"])
@pytest.mark.parametrize("name", [NATIVE, NATIVE.replace("/", "%2F"), UNLISTED.replace("/", "%2F"), "gpt-4o"])
def test_a_models_id_may_be_percent_encoded(stranger: httpx2.Client, prefix: str, name: str) -> None:
    response = stranger.get(f"{prefix}/{name}", headers={"authorization": f"Bearer {KEY}"})
    assert (response.status_code, response.json()["id"]) == (200, name.replace("%2F", "/"))


@pytest.mark.parametrize("headers", CREDENTIALS, ids=str)
def test_a_key_may_stand_in_many_places(stranger: httpx2.Client, headers: dict[str, str]) -> None:
    assert post(stranger, **headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": f"Bearer {KEY}x"},
        {"authorization": f"Basic {KEY}"},
        {"x-api-key": ""},
        {"x-api-key": "ключ"},
    ],
    ids=str,
)
def test_without_the_key_there_is_no_answer(stranger: httpx2.Client, headers: dict[str, str]) -> None:
    encoded = {name.encode(): value.encode() for name, value in headers.items()}
    response = stranger.post("/v1/chat/completions", json=asked("Hello"), headers=encoded)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(("value", "status"), [("Bearer ", 401), (f"Bearer {KEY} ", 200), (f" {KEY}\t", 200)])
def test_spaces_around_a_key_mean_nothing(server: Server, value: str, status: int) -> None:
    head = raw(server, f"GET /v1/models HTTP/1.1\r\nHost: h\r\nAuthorization:{value}\r\n\r\n".encode())
    assert head.startswith(f"HTTP/1.1 {status} ".encode())


def test_a_key_may_be_any_text() -> None:
    with cloudflare() as upstream, flarelay(upstream, api_keys="ключ, another key") as server:
        for headers in [
            {b"authorization": "Bearer ключ".encode()},
            {b"x-api-key": "ключ".encode()},
            {b"api-key": b"another key"},
            {b"authorization": b"Bearer another key"},
        ]:
            assert httpx2.get(f"{server.url}/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer"}, {"authorization": "Bearer anything"}], ids=str)
def test_where_no_key_is_set_none_is_needed(headers: dict[str, str]) -> None:
    with flarelay() as server, httpx2.Client(base_url=server.url, headers=headers) as client:
        answer = client.post("/v1/chat/completions", json=asked("Hello")).json()
    assert answer["choices"][0]["message"]["content"].startswith("This is the emulator")


def test_callers_may_bring_their_own_account() -> None:
    account, token = "0123456789abcdef0123456789abcdef", "token-of-a-caller"
    with cloudflare(tokens={account: token}) as upstream:
        with flarelay(cloudflare_account_id=account, cloudflare_api_base_url=upstream.url) as server:
            for key, status in [(token, 200), (f"{account}:{token}", 200), ("another-token", 401), ("", 401)]:
                with httpx2.Client(base_url=server.url, headers={"x-api-key": key}) as client:
                    response = client.post("/v1/chat/completions", json=asked("Hello"))
                assert response.status_code == status
                assert status == 200 or response.json()["error"]["code"] == "invalid_api_key"
        own = {"x-api-key": f"{account}:{token}"}
        with flarelay(cloudflare_api_base_url=upstream.url) as server:
            url = f"{server.url}/v1/chat/completions"
            httpx2.post(url, json=asked("Not for the built-in emulator"), headers=own)
    assert upstream.emulator.requests[-1].body["messages"][0]["content"] == "Not for the built-in emulator"


@pytest.mark.parametrize("path", ["/", "/api/hello", "/health"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_signs_of_life_need_no_key(stranger: httpx2.Client, method: str, path: str) -> None:
    response = stranger.request(method, path)
    assert response.status_code == 200
    assert bool(response.content) == (method == "GET")


@pytest.mark.parametrize("path", ["/", "/v1/chat/completions", "/models", "/v1/nothing/here", "/translate"])
def test_lobechat_in_a_browser_may_ask_before_any_request(stranger: httpx2.Client, path: str) -> None:
    response = stranger.options(
        path,
        headers={
            "origin": "https://chat.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": STAINLESS,
            "access-control-request-private-network": "true",
        },
    )
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["access-control-allow-headers"] == STAINLESS
    assert set(response.headers["access-control-allow-methods"].split(", ")) >= {"GET", "POST", "DELETE", "OPTIONS"}
    assert response.headers["access-control-max-age"] == "86400"
    assert response.headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-credentials" not in response.headers
    assert response.headers["x-request-id"]


@pytest.mark.parametrize("headers", [{}, {"origin": "https://chat.example"}], ids=["no-origin", "origin"])
@pytest.mark.parametrize("path", ["/", "/v1/chat/completions", "/v1/models", "/v1/nothing/here"])
def test_a_bare_options_is_answered(stranger: httpx2.Client, path: str, headers: dict[str, str]) -> None:
    response = stranger.options(path, headers=headers)
    assert response.status_code == 204
    assert "POST" in response.headers["allow"]
    assert not response.content


@pytest.mark.parametrize(
    ("method", "path", "key", "body", "status"),
    [
        ("POST", "/v1/chat/completions", "wrong", b"{}", 401),
        ("POST", "/v1/chat/completions", KEY, b"{", 400),
        ("POST", "/v1/chat/completions", KEY, b'{"model":"gpt-nobody","messages":[{"role":"user"}]}', 404),
        ("GET", "/v1/nothing", KEY, b"", 404),
        ("PUT", "/v1/models", KEY, b"", 405),
        ("GET", "/v1/models", KEY, b"", 200),
    ],
    ids=["401", "400", "404-model", "404-path", "405", "200"],
)
def test_nextchat_in_a_browser_can_read_every_answer(
    stranger: httpx2.Client, method: str, path: str, key: str, body: bytes, status: int
) -> None:
    headers = {"origin": "https://chat.example", "authorization": f"Bearer {key}"}
    response = stranger.request(method, path, content=body, headers=headers)
    assert response.status_code == status
    assert response.headers["access-control-allow-origin"] == "*"
    exposed = response.headers["access-control-expose-headers"].split(", ")
    assert {"x-request-id", "retry-after"} <= set(exposed)
    assert status == 200 or response.json()["error"]["type"] == "invalid_request_error"


def test_a_browser_can_read_a_stream(stranger: httpx2.Client) -> None:
    headers = {"origin": "https://chat.example", "authorization": f"Bearer {KEY}"}
    response = stranger.post("/v1/chat/completions", json=asked("Hello", stream=True), headers=headers)
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.text.endswith("data: [DONE]\n\n")


def test_only_the_origins_of_the_settings_may_read(upstream: Cloudflare) -> None:
    with (
        flarelay(upstream, cors_origins="https://chat.example") as server,
        httpx2.Client(base_url=server.url) as client,
    ):
        friend = client.get("/v1/models", headers={"origin": "https://chat.example"})
        foe = client.get("/v1/models", headers={"origin": "https://evil.example"})
    assert friend.headers["access-control-allow-origin"] == "https://chat.example"
    assert "access-control-allow-origin" not in foe.headers


class Crash(httpx2.AsyncBaseTransport):
    """A bug of ours, at the deepest place that a test can reach."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raise RuntimeError("a detail that is nobody's business")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_crash_is_told_in_openais_shape_without_details(upstream: Cloudflare, stream: bool) -> None:
    with serving(create_app(settings(upstream), transport=Crash())) as server:
        headers = {"origin": "https://chat.example", "authorization": f"Bearer {KEY}"}
        with httpx2.Client(base_url=server.url, headers=headers) as client:
            response = client.post("/v1/chat/completions", json=asked("Hello", stream=stream))
    assert response.status_code == 500
    error = response.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("server_error", "internal_error", None)
    assert "detail" not in response.text
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["x-request-id"]

"""What a form asks of AI Gateway: in its field `gateway`, as other requests do in their bodies."""

from collections.abc import Callable, Iterator

import httpx2
import orjson
import pytest

from app.emulator.options import GatewayOptions
from tests.emulator.asking import picture_bytes
from tests.serving import ACCOUNT, Cloudflare, cloudflare, connected, flarelay
from tests.sounding import recording

WHISPER = "@cf/openai/whisper-large-v3-turbo"
PAINTER = "@cf/runwayml/stable-diffusion-v1-5-img2img"

Ask = Callable[[httpx2.Client, dict[str, str]], httpx2.Response]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Cloudflare]:
    with cloudflare(gateways={"open": GatewayOptions()}) as running:
        yield running


def transcribe(http: httpx2.Client, fields: dict[str, str]) -> httpx2.Response:
    sound = recording(["alpha", "bravo"])
    form = {"model": WHISPER} | fields
    return http.post("/v1/audio/transcriptions", data=form, files={"file": ("a.wav", sound)})


def edit(http: httpx2.Client, fields: dict[str, str]) -> httpx2.Response:
    form = {"model": PAINTER, "prompt": "a cat", "response_format": "b64_json"} | fields
    return http.post("/v1/images/edits", data=form, files={"image": ("a.png", picture_bytes())})


@pytest.mark.parametrize("ask", [transcribe, edit])
def test_the_options_of_a_form_reach_the_gateway(upstream: Cloudflare, ask: Ask) -> None:
    options = {"skipCache": True, "cacheTtl": 60, "metadata": {"team": "b"}}
    with flarelay(upstream, ai_gateway_id="open") as server, connected(server) as http:
        response = ask(http, {"gateway": orjson.dumps(options).decode()})
        assert response.status_code == 200
        assert "gateway" not in response.headers.get("x-flarelay-ignored", "")
        sent = upstream.emulator.requests[-1]
        found = {name: value for name, value in sent.headers.items() if name.startswith("cf-aig-")}
        assert found == {
            "cf-aig-gateway-id": "open",
            "cf-aig-skip-cache": "true",
            "cf-aig-cache-ttl": "60",
            "cf-aig-metadata": '{"team":"b"}',
        }
        assert "gateway" not in upstream.sent


@pytest.mark.parametrize("ask", [transcribe, edit])
@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("open", "gateway"),
        ("[1]", "gateway"),
        ('{"cacheTtl":1}', "cacheTtl"),
        ('{"authorization":"x"}', "authorization"),
    ],
)
def test_options_that_make_no_sense_are_refused(upstream: Cloudflare, ask: Ask, text: str, param: str) -> None:
    with flarelay(upstream, ai_gateway_id="open") as server, connected(server) as http:
        response = ask(http, {"gateway": text})
        assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_a_nested_field_is_an_option_too(upstream: Cloudflare) -> None:
    with flarelay(upstream, ai_gateway_id="open") as server, connected(server) as http:
        assert transcribe(http, {"gateway[skipCache]": "true"}).status_code == 200
        assert upstream.emulator.requests[-1].headers["cf-aig-skip-cache"] == "true"


def test_without_a_gateway_nobody_heeds_them(upstream: Cloudflare) -> None:
    with flarelay(upstream) as server, connected(server) as http:
        response = transcribe(http, {"gateway": '{"skipCache":true}'})
        assert response.status_code == 200
        assert "gateway" in response.headers["x-flarelay-ignored"]
        assert upstream.emulator.requests[-1].path == f"/client/v4/accounts/{ACCOUNT}/ai/run/{WHISPER}"

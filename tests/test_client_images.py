"""Pictures, asked for as clients ask, over real sockets: their pixels, their host, and what goes wrong."""

import base64
import time
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx2
import openai
import orjson
import pytest
from PIL import Image

from app.errors import InternalServerError
from tests.serving import (
    BEARER,
    KEY,
    NATIVE,
    Cloudflare,
    Server,
    answering,
    body,
    cloudflare,
    connected,
    flarelay,
    payloads,
    start,
    until,
)

SDXL = "@cf/stabilityai/stable-diffusion-xl-base-1.0"
SCHNELL = "@cf/black-forest-labs/flux-1-schnell"
FLUX2 = "@cf/black-forest-labs/flux-2-klein-9b"
GENERATIONS = "/v1/images/generations"


def picture(colour: str = "blue", size: tuple[int, int] = (300, 200), kind: str = "PNG") -> bytes:
    file = BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def mask(size: tuple[int, int] = (300, 200)) -> bytes:
    """Transparent on the left."""
    image = Image.new("RGBA", size, (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def opened(data: bytes | str | None) -> Image.Image:
    assert data is not None
    return Image.open(BytesIO(base64.b64decode(data) if isinstance(data, str) else data))


def pictures(response: Any) -> list[Image.Image]:
    return [opened(item.b64_json) for item in response.data]


def script(**wanted: Any) -> str:
    return f"a cat\n!emulate {orjson.dumps(wanted).decode()}"


def test_openais_client_gets_pictures_of_the_size_it_asked_for(client: openai.OpenAI, upstream: Cloudflare) -> None:
    response = client.images.generate(model=SDXL, prompt="a red cat", n=2, size="512x768", quality="low")
    found = pictures(response)
    assert [image.size for image in found] == [(512, 768)] * 2
    assert found[0].tobytes() != found[1].tobytes()
    seeds = [
        request.body["seed"] for request in list(upstream.emulator.requests)[-2:] if isinstance(request.body, dict)
    ]
    assert len(set(seeds)) == 2
    assert isinstance(response.created, int)
    assert response.usage is not None
    assert response.size == "512x768"


def test_a_model_gets_only_what_it_takes(http: httpx2.Client, upstream: Cloudflare) -> None:
    body = {"model": SCHNELL, "prompt": "a cat", "size": "512x512", "style": "vivid", "seed": 1, "n": 1}
    response = http.post(GENERATIONS, json=body)
    assert response.status_code == 200
    assert set(upstream.sent) <= {"prompt", "steps"}
    assert "style" in response.headers["x-flarelay-ignored"]
    assert opened(response.json()["data"][0]["b64_json"]).size == (1024, 1024)


@pytest.mark.parametrize("model", ["gpt-image-1", "dall-e-2", "dall-e-3", "@cf/leonardo/phoenix-1.0"])
@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_every_model_gives_every_format(http: httpx2.Client, model: str, output_format: str) -> None:
    body = {"model": model, "prompt": "a cat", "output_format": output_format, "response_format": "b64_json"}
    answer = http.post(GENERATIONS, json=body).json()
    assert opened(answer["data"][0]["b64_json"]).format == output_format.upper()
    assert set(answer["data"][0]) == {"b64_json"}
    assert answer["output_format"] == output_format


def test_an_address_leads_to_the_picture_without_a_key(http: httpx2.Client, server: Server) -> None:
    body = {"model": SDXL, "prompt": "a cat", "response_format": "url"}
    item = http.post(GENERATIONS, json=body).json()["data"][0]
    assert set(item) == {"url"}
    assert item["url"].startswith(f"{server.url}/images/")
    response = httpx2.get(item["url"])
    assert response.headers["content-type"] == "image/png"
    assert opened(response.content).size == (1024, 1024)
    assert httpx2.get(item["url"], headers={"if-none-match": response.headers["etag"]}).status_code == 304


def test_without_a_wish_both_forms_are_there(http: httpx2.Client) -> None:
    item = http.post(GENERATIONS, json={"model": SDXL, "prompt": "a cat"}).json()["data"][0]
    assert httpx2.get(item["url"]).content == base64.b64decode(item["b64_json"])


def test_addresses_are_below_the_public_one(upstream: Cloudflare) -> None:
    with flarelay(upstream, public_base_url="https://ai.example/") as server, connected(server) as client:
        item = client.post(GENERATIONS, json={"model": SDXL, "prompt": "a cat", "response_format": "url"}).json()
    assert item["data"][0]["url"].startswith("https://ai.example/images/")


def test_a_full_disk_costs_the_address_only(upstream: Cloudflare, tmp_path: Any) -> None:
    folder = tmp_path / "data"
    with flarelay(upstream, data_dir=str(folder)) as server, connected(server) as client:
        (folder / "pictures").rename(tmp_path / "gone")
        (folder / "pictures").write_text("no folder")
        plain = client.post(GENERATIONS, json={"model": SDXL, "prompt": "a cat"})
        linked = client.post(GENERATIONS, json={"model": SDXL, "prompt": "a cat", "response_format": "url"})
    assert set(plain.json()["data"][0]) == {"b64_json"}
    assert (linked.status_code, linked.json()["error"]["code"]) == (503, "storage_failed")


def test_a_stream_has_one_completed_event_for_each_picture(client: openai.OpenAI) -> None:
    events = list(client.images.generate(model=SDXL, prompt="a cat", n=2, stream=True, partial_images=0))
    assert [event.type for event in events] == ["image_generation.completed"] * 2
    for event in events:
        assert opened(event.b64_json).size == (1024, 1024)
        assert (event.output_format, event.size, event.background) == ("png", "1024x1024", "opaque")


def test_edits_start_from_pictures(client: openai.OpenAI) -> None:
    one = client.images.edit(image=("a.png", picture()), prompt="brighter")
    assert pictures(one)[0].size[0] / pictures(one)[0].size[1] == pytest.approx(1.5, abs=0.1)
    two = client.images.edit(model=FLUX2, image=[("a.png", picture()), ("b.png", picture("red"))], prompt="both")
    assert len(pictures(two)) == 1


def test_only_what_the_mask_shows_changes(client: openai.OpenAI) -> None:
    response = client.images.edit(
        model="dall-e-2", image=("a.png", picture()), mask=("m.png", mask()), prompt="a cat", response_format="b64_json"
    )
    image = pictures(response)[0].convert("RGB")
    assert image.size == (300, 200)
    assert image.getpixel((290, 100)) == (0, 0, 255)
    assert image.getpixel((10, 10)) != (0, 0, 255)


@pytest.mark.parametrize("name", ["image", "image[]", "image[0]"])
def test_every_name_that_clients_give_the_picture_is_read(http: httpx2.Client, name: str) -> None:
    files = {name: ("a.bin", picture(kind="JPEG"), "application/octet-stream")}
    response = http.post("/v1/images/edits", data={"prompt": "a cat", "n": "1"}, files=files)
    assert response.status_code == 200


@pytest.mark.parametrize(
    "images",
    [
        {"image": base64.b64encode(picture()).decode()},
        {"image": [f"data:image/png;base64,{base64.b64encode(picture()).decode()}"]},
        {"images": [{"image_url": f"data:image/png;base64,{base64.b64encode(picture()).decode()}"}]},
        {"images": [{"image_url": {"url": f"data:image/png;base64,{base64.b64encode(picture()).decode()}"}}]},
    ],
)
def test_gateways_send_edits_as_json(http: httpx2.Client, images: dict[str, Any]) -> None:
    assert http.post("/v1/images/edits", json={"prompt": "a cat"} | images).status_code == 200


def test_json_may_hold_a_mask(http: httpx2.Client) -> None:
    uris = [f"data:image/png;base64,{base64.b64encode(data).decode()}" for data in (picture(), mask())]
    body = {"prompt": "a cat", "image": uris[0], "mask": {"image_url": uris[1]}}
    assert http.post("/v1/images/edits", json=body).status_code == 200


def test_variations_need_no_prompt(http: httpx2.Client) -> None:
    files = {"image": ("a.png", picture(), "image/png")}
    response = http.post("/v1/images/variations", data={"n": "2", "response_format": "b64_json"}, files=files)
    assert len(response.json()["data"]) == 2


def test_an_edit_may_be_streamed(http: httpx2.Client) -> None:
    files = {"image": ("a.png", picture(), "image/png")}
    response = http.post("/v1/images/edits", data={"prompt": "a cat", "stream": "true"}, files=files)
    assert response.text.startswith("event: image_edit.completed\n")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({}, "prompt"),
        ({"prompt": "a", "n": 99}, "n"),
        ({"prompt": "a", "model": NATIVE}, "model"),
        ({"prompt": "a", "model": SCHNELL, "negative_prompt": "b"}, "negative_prompt"),
        ({"prompt": "a", "output_compression": 101}, "output_compression"),
    ],
)
def test_bad_requests_are_named(http: httpx2.Client, body: dict[str, Any], param: str) -> None:
    response = http.post(GENERATIONS, json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("data", "files", "param"),
    [
        ({"prompt": "a"}, {"image": ("a.png", b"nope")}, "image"),
        ({"prompt": "a"}, {"image": ("a.png", picture()[:60])}, "image"),
        ({"prompt": "a"}, {"image": ("a.png", picture()), "mask": ("m.png", b"nope")}, "mask"),
        ({"prompt": "a"}, {"other": ("a.png", picture())}, "image"),
        ({}, {"image": ("a.png", picture())}, "prompt"),
        ({"prompt": "a", "n": "x"}, {"image": ("a.png", picture())}, "n"),
    ],
)
def test_bad_forms_are_named(http: httpx2.Client, data: Any, files: Any, param: str) -> None:
    response = http.post("/v1/images/edits", data=data, files=files)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("content", "content_type", "code"),
    [
        (b"{", "application/json", "invalid_json"),
        (b"[]", "application/json", "invalid_value"),
        (b'{"prompt":"a","image":7}', "application/json", "invalid_value"),
        (
            b'{"prompt":"a","image":["x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x"]}',
            "",
            "invalid_value",
        ),
        (b"--x\r\nnothing", "multipart/form-data; boundary=x", "missing_required_parameter"),
        (b"--x\r\nnothing", "multipart/form-data", "invalid_form"),
    ],
)
def test_broken_bodies_are_told(http: httpx2.Client, content: bytes, content_type: str, code: str) -> None:
    headers = {"content-type": content_type} if content_type else {}
    response = http.post("/v1/images/edits", content=content, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["code"] in (code, "missing_required_parameter")


def test_a_refused_prompt_is_the_callers_fault(http: httpx2.Client) -> None:
    error = http.post(GENERATIONS, json={"model": SCHNELL, "prompt": "nsfw"}).json()["error"]
    assert (error["code"], error["type"]) == ("content_policy_violation", "invalid_request_error")


@pytest.mark.parametrize("wanted", [{"empty": True}, {"quirks": ["html-error"], "error": {"status": 502}}])
def test_a_broken_picture_never_leaves(http: httpx2.Client, wanted: dict[str, Any]) -> None:
    response = http.post(GENERATIONS, json={"model": SDXL, "prompt": script(**wanted)})
    assert response.status_code in (502, 503)
    assert response.json()["error"]["type"] == InternalServerError.type


def test_a_damaged_picture_is_an_upstream_error() -> None:
    """It begins like a picture, and only decoding it shows that it is none."""
    with answering(start("image/png"), body(picture()[:-40])) as client:
        response = client.post(GENERATIONS, json={"model": SDXL, "prompt": "a cat"})
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")


def chat(model: str, content: Any = "a cat", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": content}]} | fields


def shown(markdown: str) -> Image.Image:
    assert markdown.startswith("![image](")
    return opened(httpx2.get(markdown[9:-1]).content)


def test_a_chat_is_answered_with_a_picture(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**chat(SDXL, "a cat size=512x512"))
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0
    assert shown(answer.choices[0].message.content).size == (512, 512)


def test_a_chats_picture_may_start_from_another(client: openai.OpenAI) -> None:
    uri = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
    parts = [{"type": "text", "text": "brighter"}, {"type": "image_url", "image_url": {"url": uri}}]
    answer = client.chat.completions.create(**chat("gpt-image-1", parts))
    assert shown(answer.choices[0].message.content).size[0] > 0


def test_a_streaming_chat_gets_a_short_line_with_the_picture(http: httpx2.Client) -> None:
    body = chat(SDXL, stream=True, n=2, stream_options={"include_usage": True})
    response = http.post("/v1/chat/completions", json=body)
    events = payloads(response.text)
    texts = [event["choices"][0]["delta"].get("content") for event in events[:-2]]
    links = [text for text in texts if text]
    assert len(links) == 2
    assert all(shown(link).size == (1024, 1024) for link in links)
    assert events[-1] == "[DONE]"
    assert response.headers["x-flarelay-model"] == SDXL


def test_heartbeats_cover_a_model_that_takes_long() -> None:
    with (
        cloudflare(latency_seconds=0.4) as slow,
        flarelay(slow, heartbeat_seconds=0.1) as server,
        connected(server) as client,
    ):
        response = client.post("/v1/chat/completions", json=chat(SDXL, stream=True))
    assert response.text.startswith(": keepalive\n\n")
    assert payloads(response.text)[-1] == "[DONE]"


@pytest.fixture
def slow() -> Iterator[tuple[Cloudflare, Server]]:
    with cloudflare(latency_seconds=5) as upstream, flarelay(upstream, heartbeat_seconds=0.1) as server:
        yield upstream, server


def test_a_client_that_leaves_ends_the_making(slow: tuple[Cloudflare, Server]) -> None:
    upstream, server = slow
    options: dict[str, Any] = {"json": chat(SDXL, stream=True), "headers": BEARER, "timeout": 5}
    with httpx2.stream("POST", f"{server.url}/v1/chat/completions", **options) as response:
        next(response.iter_raw())
    started = time.monotonic()
    until(lambda: upstream.emulator.cancelled_requests == 1)
    assert time.monotonic() - started < 4
    until(lambda: not server.tasks())


def test_a_late_failure_is_an_error_event() -> None:
    request = chat(SDXL, script(error={"code": 5004, "status": 400}), stream=True)
    with (
        cloudflare(latency_seconds=0.3) as upstream,
        flarelay(upstream, heartbeat_seconds=0.1) as server,
        connected(server) as client,
    ):
        response = client.post("/v1/chat/completions", json=request)
    assert response.status_code == 200
    assert orjson.loads(response.text.split("data: ")[-1])["error"]["code"] == "invalid_value"
    assert "[DONE]" not in response.text


def test_a_quick_failure_keeps_its_status(http: httpx2.Client) -> None:
    response = http.post("/v1/chat/completions", json=chat(SCHNELL, "nsfw", stream=True))
    assert (response.status_code, response.json()["error"]["code"]) == (400, "content_policy_violation")


def test_a_key_is_needed_to_make_and_to_change_pictures(server: Server) -> None:
    for path in (GENERATIONS, "/v1/images/edits", "/v1/images/variations"):
        response = httpx2.post(f"{server.url}{path}", json={"prompt": "a"}, headers={"authorization": "Bearer no"})
        assert response.status_code == 401
    assert KEY


@pytest.fixture(scope="module")
def linked(upstream: Cloudflare) -> Iterator[httpx2.Client]:
    """A server that has links, asked without any header."""
    with flarelay(upstream, chat_links=True) as server, httpx2.Client(base_url=server.url) as client:
        yield client


def test_a_link_tries_a_model_in_a_browser(linked: httpx2.Client) -> None:
    fields = {"model": SDXL, "prompt": "a cat", "size": "512x512", "key": KEY}
    answer = linked.get("/v1/chat/completions", params=fields).json()
    assert shown(answer["choices"][0]["message"]["content"]).size == (512, 512)
    text = linked.get("/v1/chat/completions", params={"model": NATIVE, "prompt": "héllo", "key": KEY}).json()
    assert "héllo" in text["choices"][0]["message"]["content"]


def test_a_link_takes_a_key_from_the_headers_too(linked: httpx2.Client) -> None:
    response = linked.get("/v1/chat/completions", params={"model": NATIVE, "prompt": "hi"}, headers=BEARER)
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"model": NATIVE, "prompt": "hi"}, 401),
        ({"model": NATIVE, "prompt": "hi", "key": "no"}, 401),
        ({"key": KEY}, 400),
    ],
)
def test_a_link_needs_a_key_and_a_model(linked: httpx2.Client, fields: dict[str, str], status: int) -> None:
    assert linked.get("/v1/chat/completions", params=fields).status_code == status


def test_there_are_no_links_unless_they_are_wanted(http: httpx2.Client) -> None:
    assert http.get("/v1/chat/completions", params={"model": NATIVE, "prompt": "hi", "key": KEY}).status_code == 405


def test_a_chat_starts_from_so_many_pictures_only(http: httpx2.Client) -> None:
    """They are in memory together."""
    uri = f"data:image/png;base64,{base64.b64encode(picture(size=(4, 4))).decode()}"
    parts = [{"type": "text", "text": "brighter"}, *[{"type": "image_url", "image_url": {"url": uri}}] * 17]
    error = http.post("/v1/chat/completions", json=chat("gpt-image-1", parts)).json()["error"]
    assert (error["param"], error["code"]) == ("image", "invalid_value")


def test_a_chat_shows_so_many_pictures_only(http: httpx2.Client) -> None:
    urls = [f"https://pictures.example/{i}.png" for i in range(65)]
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    response = http.post("/v1/chat/completions", json=chat("gpt-4o", parts))
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "too_many_pictures")
    assert error["param"] == "messages[0].content[64].image_url.url"

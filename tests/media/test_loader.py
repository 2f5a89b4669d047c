"""PictureLoader: an address, a data URI or bare base64 in, a checked data URI out."""

import base64
from io import BytesIO

import anyio
import pytest
from PIL import Image

from app.errors import BadRequestError
from app.media.loader import PictureLoader
from app.media.pictures import from_data_uri
from app.media.remote import RemoteFetcher
from tests.media.web import Web, page

pytestmark = pytest.mark.anyio


def png(width: int = 8, height: int = 8) -> bytes:
    encoded = BytesIO()
    Image.new("RGB", (width, height), "red").save(encoded, "PNG")
    return encoded.getvalue()


PNG = png()
BASE64 = base64.b64encode(PNG).decode()
URI = f"data:image/png;base64,{BASE64}"


@pytest.fixture
def loader() -> PictureLoader:
    return PictureLoader(RemoteFetcher(allow=("127.0.0.1",)))


@pytest.mark.parametrize(
    "url", [URI, f"  {URI}\n", f"DATA:image/jpeg;base64,{BASE64}", BASE64, BASE64.rstrip("="), BASE64.replace("/", "_")]
)
async def test_a_picture_in_the_request_is_checked_and_passed_on(loader: PictureLoader, url: str) -> None:
    assert await loader.load(url, max_side=8) == URI


@pytest.mark.parametrize("shout", [False, True])
async def test_a_picture_elsewhere_is_fetched(loader: PictureLoader, web: Web, shout: bool) -> None:
    web.pages["/red.png"] = page(PNG, content_type="text/plain")
    url = web.url("/red.png")

    assert await loader.load(url.replace("http", "HTTP") if shout else f" {url} ", max_side=8) == URI


async def test_a_picture_is_scaled_to_what_the_model_takes(loader: PictureLoader, web: Web) -> None:
    large = png(64, 32)
    web.pages["/"] = page(large)

    for url in (web.url(), f"data:image/png;base64,{base64.b64encode(large).decode()}"):
        loaded = from_data_uri(await loader.load(url, max_side=16))
        assert Image.open(BytesIO(loaded)).size == (16, 8)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://pictures.example/cat.png",
        "/images/cat.png",
        "cat.png",
        "//pictures.example/cat.png",
        "",
        base64.b64encode(b"no picture").decode(),
    ],
)
async def test_what_is_neither_an_address_nor_a_picture_is_refused(loader: PictureLoader, url: str) -> None:
    with pytest.raises(BadRequestError, match="by an http") as caught:
        await loader.load(url, max_side=8, param="image")

    assert (caught.value.code, caught.value.param) == ("invalid_image_url", "image")


@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", "data:image/png;base64,", "data:image/png"])
async def test_a_data_uri_without_a_picture_is_refused(loader: PictureLoader, url: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        await loader.load(url, max_side=8, param="image")

    assert (caught.value.code, caught.value.param) == ("invalid_image", "image")


async def test_a_fetched_page_that_is_no_picture_is_refused(loader: PictureLoader, web: Web) -> None:
    web.pages["/"] = page(b"<html>", content_type="image/png")

    with pytest.raises(BadRequestError, match="a web page") as caught:
        await loader.load(web.url(), max_side=8, param="image")

    assert (caught.value.code, caught.value.param) == ("invalid_image", "image")


async def test_a_failed_fetch_names_the_parameter(loader: PictureLoader) -> None:
    with pytest.raises(BadRequestError) as caught:
        await loader.load("http://10.0.0.1/", max_side=8, param="image")

    assert (caught.value.code, caught.value.param) == ("invalid_image_url", "image")


async def test_pictures_wait_for_a_free_place_to_be_decoded_in() -> None:
    loader = PictureLoader(RemoteFetcher(), decodes_at_once=2)
    loaded: list[str] = []

    async def load() -> None:
        loaded.append(await loader.load(URI, max_side=8))

    async with anyio.create_task_group() as tasks:
        await loader._decodes.acquire_on_behalf_of("a first")
        await loader._decodes.acquire_on_behalf_of("a second")
        tasks.start_soon(load)
        await anyio.wait_all_tasks_blocked()
        assert loaded == []
        loader._decodes.release_on_behalf_of("a first")

    assert loaded == [URI]

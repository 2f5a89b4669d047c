"""The picture host over a real socket: what browsers, caches and the curious ask of it."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import anyio
import httpx2
import orjson
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

from app.routes.edge import Edge, Faults
from app.routes.hosted import byte_range, is_known, routes
from app.stores.disk import Disk
from app.stores.pictures import PIECE_BYTES, PictureStore, Stored
from tests.serving import DEADLINE_SECONDS, Server, connected, serving, until

PICTURE = bytes(range(256)) * 4
SIZE = len(PICTURE)
OUTSIDE = "B" * 32 + ".png"


@contextmanager
def hosting(store: PictureStore) -> Iterator[Server]:
    app = Starlette(routes=routes(store), middleware=[Middleware(Edge), Middleware(Faults)])
    with serving(app, lifespan="off") as server:
        yield server


def make_store(folder: Path, kind: type[PictureStore] = PictureStore, **options: Any) -> PictureStore:
    return kind(Disk(folder), **{"max_bytes": 10**8, "expire_seconds": 3600} | options)


def put(store: PictureStore, data: bytes = PICTURE, media_type: str = "image/png") -> str:
    return anyio.run(store.put, data, media_type)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PictureStore:
    folder = tmp_path_factory.mktemp("data")
    (folder / OUTSIDE).write_bytes(b"not for you")
    return make_store(folder / "pictures")


@pytest.fixture(scope="module")
def host(store: PictureStore) -> Iterator[Server]:
    with hosting(store) as server:
        yield server


@pytest.fixture(scope="module")
def http(host: Server) -> Iterator[httpx2.Client]:
    with connected(host) as client:
        del client.headers["authorization"]
        yield client


@pytest.fixture(scope="module")
def name(store: PictureStore) -> str:
    return put(store)


def headers_of(response: httpx2.Response, *besides: str) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name not in ("date", "x-request-id", *besides)}


ALWAYS = {
    "cache-control": "public, max-age=31536000, immutable",
    "accept-ranges": "bytes",
    "content-disposition": "inline",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "cross-origin",
}


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "image/webp"])
def test_a_picture_comes_whole_with_what_caches_and_browsers_need(
    http: httpx2.Client, store: PictureStore, media_type: str
) -> None:
    name = put(store, PICTURE, media_type)
    response = http.get(f"/images/{name}")
    assert (response.status_code, response.content) == (200, PICTURE)
    assert headers_of(response) == ALWAYS | {
        "etag": f'"{name}"', "content-type": media_type, "content-length": str(SIZE)
    }  # fmt: skip


def test_a_large_picture_comes_in_pieces(http: httpx2.Client, store: PictureStore) -> None:
    data = os.urandom(3 * PIECE_BYTES + 7)
    path = f"/images/{put(store, data)}"
    assert http.get(path).content == data
    part = http.get(path, headers={"range": f"bytes=10-{2 * PIECE_BYTES}"})
    assert part.content == data[10 : 2 * PIECE_BYTES + 1]


def test_an_empty_file_is_an_empty_answer(http: httpx2.Client, store: PictureStore) -> None:
    path = f"/images/{put(store, b'')}"
    assert (http.get(path).status_code, http.get(path).content) == (200, b"")
    assert http.get(path, headers={"range": "bytes=-1"}).status_code == 416


def test_head_tells_what_get_would(http: httpx2.Client, name: str) -> None:
    got, head = http.get(f"/images/{name}"), http.head(f"/images/{name}")
    assert (head.status_code, head.content, headers_of(head)) == (200, b"", headers_of(got))


def test_a_range_counts_on_get_only(http: httpx2.Client, name: str) -> None:
    head = http.head(f"/images/{name}", headers={"range": "bytes=0-1"})
    assert (head.status_code, head.headers["content-length"]) == (200, str(SIZE))


RANGES = [
    ("bytes=0-0", range(1)),
    ("bytes=0-99", range(100)),
    ("bytes=100-199", range(100, 200)),
    ("bytes=1000-", range(1000, SIZE)),
    ("bytes=0-", range(SIZE)),
    ("bytes=1000-99999", range(1000, SIZE)),
    (f"bytes={SIZE - 1}-{SIZE - 1}", range(SIZE - 1, SIZE)),
    ("bytes=-1", range(SIZE - 1, SIZE)),
    ("bytes=-9999", range(SIZE)),
    ("bytes=000-001", range(2)),
    ("BYTES= \t0-1", range(2)),
]
UNSATISFIABLE = [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE}", "bytes=999999999999999999-", "bytes=-0"]
IGNORED = [
    "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=1", "bytes=--1", "bytes=+1-2", "bytes=1_0-20",
    "bytes=0x1-2", "bytes=1.0-2", "bytes =0-1", "bytes: 0-1", "items=0-1", "0-1", "bytes=0-1,5-6", "bytes=0-1,",
    "bytes=0-1;q=1", f"bytes={'9' * 5000}-", f"bytes=0-{'9' * 19}",
]  # fmt: skip


@pytest.mark.parametrize(("text", "part"), RANGES)
def test_a_range_is_served(http: httpx2.Client, name: str, text: str, part: range) -> None:
    response = http.get(f"/images/{name}", headers={"range": text})
    assert (response.status_code, response.content) == (206, PICTURE[part.start : part.stop])
    assert headers_of(response) == ALWAYS | {
        "etag": f'"{name}"', "content-type": "image/png", "content-length": str(len(part)),
        "content-range": f"bytes {part.start}-{part.stop - 1}/{SIZE}",
    }  # fmt: skip


@pytest.mark.parametrize("text", UNSATISFIABLE)
def test_a_range_without_bytes_is_416(http: httpx2.Client, name: str, text: str) -> None:
    response = http.get(f"/images/{name}", headers={"range": text})
    assert (response.status_code, response.headers["content-range"]) == (416, f"bytes */{SIZE}")
    assert response.json()["error"] == {
        "message": "The picture has 1024 bytes, and none in this range.", "type": "invalid_request_error",
        "param": None, "code": "range_not_satisfiable",
    }  # fmt: skip
    assert "cache-control" not in response.headers


@pytest.mark.parametrize("text", IGNORED)
def test_what_is_no_single_range_is_ignored(http: httpx2.Client, name: str, text: str) -> None:
    response = http.get(f"/images/{name}", headers={"range": text})
    assert (response.status_code, response.content) == (200, PICTURE)
    assert "content-range" not in response.headers


def test_several_range_headers_are_several_ranges(http: httpx2.Client, name: str) -> None:
    response = http.get(f"/images/{name}", headers=[("range", "bytes=0-1"), ("range", "bytes=5-6")])
    assert (response.status_code, response.content) == (200, PICTURE)


def test_digits_are_ascii() -> None:
    assert byte_range("bytes=0-٣", 100) is None


@pytest.mark.parametrize(
    ("if_range", "status"),
    [('"{name}"', 206), ('W/"{name}"', 200), ('"another"', 200), ("Wed, 21 Oct 2015 07:28:00 GMT", 200), ("", 200)],
)
def test_a_range_of_another_picture_is_the_whole_of_this(
    http: httpx2.Client, name: str, if_range: str, status: int
) -> None:
    headers = {"range": "bytes=0-1", "if-range": if_range.format(name=name)}
    assert http.get(f"/images/{name}", headers=headers).status_code == status


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("known", ['"{name}"', 'W/"{name}"', '"a", W/"b" ,"{name}"', "*"])
def test_a_known_picture_is_304(http: httpx2.Client, name: str, known: str, method: str) -> None:
    headers = {"if-none-match": known.format(name=name), "range": "bytes=0-1"}
    response = http.request(method, f"/images/{name}", headers=headers)
    assert (response.status_code, response.content) == (304, b"")
    assert headers_of(response) == ALWAYS | {"etag": f'"{name}"'}


@pytest.mark.parametrize("known", ["", '"another"', "{name}", '"*"', '"a", *'])
def test_an_unknown_picture_is_sent(http: httpx2.Client, name: str, known: str) -> None:
    assert http.get(f"/images/{name}", headers={"if-none-match": known.format(name=name)}).status_code == 200


def test_tags_may_come_in_several_headers(http: httpx2.Client, name: str) -> None:
    headers = [("if-none-match", '"a"'), ("if-none-match", f'"{name}"')]
    assert http.get(f"/images/{name}", headers=headers).status_code == 304
    assert is_known(f'"a", "{name}"', f'"{name}"')


def exchange(server: Server, target: bytes, method: bytes = b"GET") -> tuple[int, bytes]:
    """Status and body for a path that no client would send as it is."""
    with socket.create_connection(server.socket.getsockname(), DEADLINE_SECONDS) as connection:
        connection.sendall(b"%s %s HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" % (method, target))
        head, _, body = b"".join(iter(partial(connection.recv, 65536), b"")).partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


@pytest.mark.parametrize(
    "target",
    [
        "..", "%2e%2e", ".%00.png", f"../{OUTSIDE}", f"..%2f{OUTSIDE}", f"%2e%2e%2f{OUTSIDE}", f"..%5c{OUTSIDE}",
        f"..%252f{OUTSIDE}", f"x/../../{OUTSIDE}", f"..//{OUTSIDE}", "/etc/passwd", "%2fetc%2fpasswd", "file:///etc/passwd",
        "%2F%2Fetc/passwd", f"{OUTSIDE}%00", f"{OUTSIDE}%0a", f"%00{OUTSIDE}", "C:%5cwindows", "A" * 30_000,
        "A" * 32 + ".png", "A" * 32 + ".svg", "%C3%84" * 32 + ".png", "%FF" * 32 + ".png", "%D9%A3" * 32 + ".png",
        ".0123456789abcdef.part", "generations",
    ],
)  # fmt: skip
def test_every_other_name_is_404(host: Server, target: str) -> None:
    status, body = exchange(host, b"/images/" + target.encode())
    assert status == 404
    if "/" not in unquote(target):  # what has a slash is no name, but a path that the router does not know
        assert orjson.loads(body)["error"] == {
            "message": "There is no picture of this name. Pictures are kept for a limited time.",
            "type": "invalid_request_error", "param": None, "code": "not_found",
        }  # fmt: skip


def test_odd_names_of_a_picture_that_is_there_are_404(host: Server, name: str) -> None:
    bare = name.encode()
    assert exchange(host, b"/images/" + bare) == (200, PICTURE)
    for odd in (bare + b"%0a", bare + b"%00", b"x/../" + bare, b".%2f" + bare, bare + b".png", bare[:-4]):
        assert exchange(host, b"/images/" + odd)[0] == 404
    assert exchange(host, b"/images/" + bare + b".png", b"HEAD") == (404, b"")


def test_only_reading_is_allowed(host: Server, name: str) -> None:
    for method in (b"POST", b"PUT", b"DELETE"):
        assert exchange(host, b"/images/" + name.encode(), method)[0] == 405


def test_an_expired_picture_is_404(tmp_path: Path) -> None:
    time = [1000.0]
    store = make_store(tmp_path, expire_seconds=60, now=lambda: time[0])
    path = f"/images/{put(store)}"
    with hosting(store) as server, connected(server) as http:
        assert http.get(path).status_code == 200
        time[0] += 60
        for headers in ({}, {"if-none-match": "*"}, {"range": "bytes=0-1"}):
            assert http.get(path, headers=headers).status_code == 404


class Vanishing(PictureStore):
    """Pictures go right after they were found."""

    async def get(self, name: str) -> Stored | None:
        picture = await super().get(name)
        assert picture
        self._medium.remove(picture.name)
        return picture


class Shrinking(PictureStore):
    """As a disk at fault might."""

    async def get(self, name: str) -> Stored | None:
        picture = await super().get(name)
        assert picture
        assert isinstance(self._medium, Disk)
        os.truncate(self._medium.path(picture.name), picture.size // 2)
        return picture


def test_a_picture_that_vanishes_before_its_first_byte_is_404(tmp_path: Path) -> None:
    store = make_store(tmp_path, Vanishing)
    with hosting(store) as server, connected(server) as http:
        response = http.get(f"/images/{put(store)}")
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


def test_a_picture_that_is_cut_never_looks_whole(tmp_path: Path) -> None:
    store = make_store(tmp_path, Shrinking)
    with hosting(store) as server, connected(server) as http, pytest.raises(httpx2.RemoteProtocolError):
        http.get(f"/images/{put(store)}")


def test_a_client_that_leaves_ends_the_download(
    http: httpx2.Client, host: Server, store: PictureStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flarelay")
    path = f"/images/{put(store, bytes(64 * 2**20))}"  # more than the system's buffers take
    with http.stream("GET", path) as response:
        next(response.iter_raw())
    until(lambda: any("client_left" in str(vars(record).get("fields")) for record in caplog.records))
    until(lambda: not host.tasks())

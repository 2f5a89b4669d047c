"""Buckets: the same pictures in an object store, which here is one in memory."""

from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore

from app.stores.bucket import Bucket
from app.stores.pictures import PictureStore

pytestmark = pytest.mark.anyio

NEVER = 1e9


@pytest.fixture
def store() -> PictureStore:
    return PictureStore(Bucket(MemoryStore()), max_bytes=100, expire_seconds=NEVER)


async def read(store: PictureStore, name: str, start: int = 0) -> bytes:
    picture = await store.get(name)
    assert picture is not None
    return b"".join([piece async for piece in store.read(picture, start, picture.size)])


async def test_a_picture_comes_back_whole_and_in_part(store: PictureStore) -> None:
    await store.open()
    name = await store.put(b"a picture", "image/png")
    assert await read(store, name) == b"a picture"
    assert await read(store, name, 2) == b"picture"
    await store.aclose()


async def test_what_is_not_there_is_not_found(store: PictureStore) -> None:
    assert await store.get("A" * 32 + ".png") is None


async def test_old_pictures_make_room(store: PictureStore) -> None:
    names = [await store.put(bytes(40), "image/png") for _ in range(4)]
    await store.sweep()
    found = [name for name in names if await store.get(name)]
    assert 1 <= len(found) <= 2


async def test_expired_pictures_are_removed() -> None:
    bucket = Bucket(MemoryStore())
    store = PictureStore(bucket, max_bytes=100, expire_seconds=0)
    await store.put(b"a", "image/png")
    await store.sweep()
    assert bucket.files() == []


def test_a_picture_that_has_gone_meanwhile_is_told() -> None:
    bucket = Bucket(MemoryStore())
    bucket.write("a", b"ab", 0)
    reading = bucket.reading("a", 0)
    assert reading.read(1) == b"a"
    bucket.remove("a")
    bucket.remove("a")
    with pytest.raises(FileNotFoundError):
        reading.read(1)


def test_an_object_that_is_shorter_than_it_was_is_told() -> None:
    bucket = Bucket(MemoryStore())
    bucket.write("a", b"ab", 0)
    with pytest.raises(EOFError):
        bucket.reading("a", 0).read(3)


def test_failures_are_those_of_a_disk_without_the_account(tmp_path: Path) -> None:
    folder = tmp_path / "bucket"
    folder.mkdir()
    bucket = Bucket(LocalStore(folder))
    bucket.write("a", b"ab", 0)
    folder.joinpath("a").unlink()
    bucket.remove("a")
    with pytest.raises(OSError, match="Error"):
        bucket.write("../a", b"ab", 0)


def test_an_address_names_a_bucket() -> None:
    assert Bucket.at("s3://bucket/folder").find is not None
    with pytest.raises(OSError, match="Error"):
        Bucket.at("nothing")

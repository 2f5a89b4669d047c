import asyncio
import os
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from app.stores.disk import Disk
from app.stores.pictures import PIECE_BYTES, PictureStore, Stored
from tests.serving import DEADLINE_SECONDS

pytestmark = pytest.mark.anyio

NEVER = 10.0**9
"""A wait that no test lives to see the end of."""


class Clock:
    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        self.time += 1
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Callable[..., PictureStore]:
    def make(**options: Any) -> PictureStore:
        chosen: dict[str, Any] = {"max_bytes": 1000, "expire_seconds": 3600, "sweep_seconds": NEVER, "now": clock}
        return PictureStore(Disk(tmp_path), **chosen | options)

    return make


@asynccontextmanager
async def opened(*stores: PictureStore) -> AsyncGenerator[None]:
    for store in stores:
        await store.open()
    try:
        yield
    finally:
        for store in stores:
            await store.aclose()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in threads, and on the disk
            await anyio.sleep(0.005)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def content(store: PictureStore, name: str) -> bytes:
    picture = await store.get(name)
    assert picture
    return b"".join([piece async for piece in store.read(picture, 0, picture.size)])


async def kept(store: PictureStore, names: list[str]) -> list[int]:
    """Which of them, by number."""
    return [number for number, name in enumerate(names) if await store.get(name)]


@pytest.mark.parametrize(
    ("media_type", "suffix"), [("image/png", ".png"), ("image/jpeg", ".jpg"), ("image/webp", ".webp")]
)
async def test_a_picture_is_found_by_its_name(
    make: Callable[..., PictureStore], tmp_path: Path, clock: Clock, media_type: str, suffix: str
) -> None:
    store = make()
    name = await store.put(b"a picture", media_type)
    stored_at = clock.time
    assert re.fullmatch(r"[\w-]{32}" + re.escape(suffix), name)
    assert await store.get(name) == Stored(name, 9, stored_at, media_type)
    assert await content(store, name) == b"a picture"


async def test_other_types_are_refused(make: Callable[..., PictureStore], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="image/svg"):
        await make().put(b"<svg>", "image/svg+xml")
    assert names_in(tmp_path) == set()


GOOD = "A" * 32 + ".png"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        GOOD[:-1],
        GOOD[1:],
        "A" + GOOD,
        GOOD + "\n",
        GOOD + "\0",
        "\0" + GOOD,
        "A" * 32 + ".gif",
        "A" * 32 + ".PNG",
        "Ä" * 32 + ".png",
        "٣" * 32 + ".png",
        "../" + GOOD,
        "..%2f" + GOOD,
        "..\\" + GOOD,
        "/etc/passwd",
        "x/../" + GOOD,
        "A" * 100_000 + ".png",
        "\udcff" * 32 + ".png",
    ],
)
async def test_what_is_no_name_finds_nothing(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (tmp_path / GOOD).write_bytes(b"beside the folder")
    (folder / GOOD).write_bytes(b"a picture")
    store = PictureStore(Disk(folder), max_bytes=1000, expire_seconds=NEVER)
    assert await store.get(GOOD)
    assert await store.get(name) is None


async def test_a_name_that_is_no_file_finds_nothing(make: Callable[..., PictureStore], tmp_path: Path) -> None:
    assert await make().get(GOOD) is None
    (tmp_path / GOOD).mkdir()
    assert await make().get(GOOD) is None


async def test_many_at_once_get_names_of_their_own(make: Callable[..., PictureStore], tmp_path: Path) -> None:
    store = make(max_bytes=10**6)
    pictures = [b"picture %d" % number for number in range(50)]
    async with opened(store):
        names = await asyncio.gather(*(store.put(picture, "image/png") for picture in pictures))
        assert await asyncio.gather(*(content(store, name) for name in names)) == pictures
    assert names_in(tmp_path) == set(names)


async def test_pictures_outlast_the_process(make: Callable[..., PictureStore]) -> None:
    store = make()
    async with opened(store):
        name = await store.put(b"a picture", "image/png")
    again = make()
    async with opened(again):
        assert await content(again, name) == b"a picture"


async def test_two_stores_share_a_folder(make: Callable[..., PictureStore]) -> None:
    one, other = make(), make()
    async with opened(one, other):
        first, second = await one.put(b"first", "image/png"), await other.put(b"second", "image/png")
        assert await content(other, first) == b"first"
        assert await content(one, second) == b"second"


async def test_an_expired_picture_is_gone_before_its_file(
    make: Callable[..., PictureStore], tmp_path: Path, clock: Clock
) -> None:
    store = make(expire_seconds=100)
    name = await store.put(b"old", "image/png")
    clock.time += 98
    assert await store.get(name)
    assert await store.get(name) is None
    fresh = await store.put(b"new", "image/png")
    assert (tmp_path / name).exists()
    await store.sweep()
    assert names_in(tmp_path) == {fresh}


async def test_the_oldest_make_room(make: Callable[..., PictureStore]) -> None:
    store = make()
    names = [await store.put(bytes(100), "image/png") for _ in range(10)]
    await store.sweep()
    assert len(await kept(store, names)) == 10  # exactly full
    names.append(await store.put(b"1", "image/png"))
    await store.sweep()
    assert await kept(store, names) == [2, 3, 4, 5, 6, 7, 8, 9, 10]  # a tenth of the space is free again


async def test_those_that_expire_may_be_room_enough(make: Callable[..., PictureStore], clock: Clock) -> None:
    store = make(expire_seconds=100)
    names = [await store.put(bytes(100), "image/png")]
    clock.time += 90
    names += [await store.put(bytes(100), "image/png") for _ in range(10)]
    clock.time += 10
    await store.sweep()
    assert await kept(store, names) == list(range(1, 11))


async def test_a_picture_beyond_all_space_is_not_kept(make: Callable[..., PictureStore], tmp_path: Path) -> None:
    store = make()
    await store.put(bytes(1001), "image/png")
    await store.sweep()
    assert names_in(tmp_path) == set()


async def test_a_full_store_is_swept_at_once(make: Callable[..., PictureStore]) -> None:
    store = make()
    async with opened(store):
        await until(lambda: not store._wake.is_set())
        names = [await store.put(bytes(100), "image/png") for _ in range(30)]
        await until(lambda: sum(store._medium.find(name) is not None for name in names) <= 10)
        assert await store.get(names[-1])


async def test_what_a_former_process_left_counts(make: Callable[..., PictureStore]) -> None:
    former = make()
    names = [await former.put(bytes(100), "image/png") for _ in range(10)]
    store = make()
    async with opened(store):
        await until(lambda: store._kept_bytes == 1000)
        names.append(await store.put(b"1", "image/png"))
        await until(lambda: store._medium.find(names[1]) is None)
        assert await kept(store, names) == list(range(2, 11))


async def test_what_another_process_adds_is_noticed_in_time(make: Callable[..., PictureStore]) -> None:
    store, other = make(sweep_seconds=0.01), make()
    async with opened(store):
        names = [await other.put(bytes(100), "image/png") for _ in range(11)]
        await until(lambda: store._medium.find(names[0]) is None)
        assert await other.get(names[-1])


async def test_two_sweeps_at_once_agree(make: Callable[..., PictureStore]) -> None:
    one, other = make(), make()
    names = [await one.put(bytes(100), "image/png") for _ in range(20)]
    await asyncio.gather(one.sweep(), other.sweep())
    assert await kept(one, names) == list(range(11, 20))


async def test_files_of_others_are_left_alone(make: Callable[..., PictureStore], tmp_path: Path, clock: Clock) -> None:
    others = {"notes.txt", ".part", ".mine.part", "A" * 32 + ".gif"}
    for name in others:
        (tmp_path / name).write_bytes(bytes(2000))
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "folder.png").mkdir()
    store = make()
    name = await store.put(b"a picture", "image/png")
    await store.sweep()
    assert names_in(tmp_path) == others | {"folder.png", name}
    assert store._kept_bytes == 9


async def test_what_a_crash_left_goes_after_an_hour(
    make: Callable[..., PictureStore], tmp_path: Path, clock: Clock
) -> None:
    for name, age in (("a", 4000), ("b", 3000)):
        path = tmp_path / f".{name * 16}.part"
        path.write_bytes(b"half a pic")
        os.utime(path, (clock.time - age, clock.time - age))
    await make().sweep()
    assert names_in(tmp_path) == {f".{'b' * 16}.part"}


async def test_a_file_that_stays_does_not_keep_the_others(
    make: Callable[..., PictureStore], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = make()
    names = [await store.put(bytes(600), "image/png") for _ in range(3)]

    class Sticky(Disk):
        def remove(self, name: str) -> None:
            if name == names[0]:
                raise PermissionError(13, "Permission denied", name)
            super().remove(name)

    store._medium = Sticky(tmp_path)
    await store.sweep()
    assert await kept(store, names) == [0]
    assert store._kept_bytes == 600
    fields = [vars(record)["fields"] for record in caplog.records]
    assert fields == [{"error": "PermissionError", "reason": "Permission denied"}]


async def test_sweeping_goes_on_after_a_failure(
    make: Callable[..., PictureStore], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "pictures"
    store = PictureStore(Disk(folder), max_bytes=100, expire_seconds=NEVER, sweep_seconds=0.01)
    async with opened(store):
        folder.rmdir()
        folder.write_bytes(b"not a folder")
        await until(lambda: bool(caplog.records))
        folder.unlink()
        names = [await store.put(bytes(60), "image/png") for _ in range(2)]
        await until(lambda: store._medium.find(names[0]) is None)
    assert {record.message for record in caplog.records} == {"picture sweep"}


async def test_a_folder_that_can_not_be_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = PictureStore(Disk(tmp_path / "file" / "pictures"), max_bytes=1, expire_seconds=1)
    with pytest.raises(NotADirectoryError):
        await store.open()
    await store.aclose()


async def test_a_store_can_be_closed_twice_and_opened_again(make: Callable[..., PictureStore]) -> None:
    store = make()
    async with opened(store):
        await store.aclose()
    async with opened(store):
        names = [await store.put(bytes(600), "image/png") for _ in range(2)]
        await until(lambda: store._medium.find(names[0]) is None)
    assert store._sweeper is None


async def test_a_picture_is_read_in_pieces_to_its_end_after_its_removal(
    make: Callable[..., PictureStore], tmp_path: Path
) -> None:
    data = os.urandom(2 * PIECE_BYTES + 10)
    store = make(max_bytes=10**7)
    picture = await store.get(await store.put(data, "image/png"))
    assert picture
    async with aclosing(store.read(picture, 5, len(data) - 1)) as pieces:
        read = [await anext(pieces)]
        (tmp_path / picture.name).unlink()
        read += [piece async for piece in pieces]
    assert b"".join(read) == data[5:-1]
    assert [len(piece) for piece in read] == [PIECE_BYTES, PIECE_BYTES, 4]


async def test_a_picture_that_went_is_not_begun(make: Callable[..., PictureStore], tmp_path: Path) -> None:
    store = make()
    picture = await store.get(await store.put(b"a picture", "image/png"))
    assert picture
    (tmp_path / picture.name).unlink()
    with pytest.raises(FileNotFoundError):
        await anext(store.read(picture, 0, 9))

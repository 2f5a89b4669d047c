"""Stored responses: whose they are, what they go on from, and which have to go."""

from functools import partial

import pytest

from app.stores.database import Database, StoreError
from app.stores.responses import A_MONTH_SECONDS, ResponseStore, Stored
from tests.stores.keeping import Clock, space_of

pytestmark = pytest.mark.anyio

ANN, BOB = "ann", "bob"

space = partial(space_of, "responses", "response_space")


@pytest.fixture
def store(database: Database, clock: Clock) -> ResponseStore:
    return ResponseStore(database, now=clock)


def stored(response_id: str = "resp_1", previous: str | None = None, text: str = "Zürich") -> Stored:
    return Stored(response_id, previous, [{"id": f"in_{response_id}", "text": text}], {"id": response_id, "output": []})


def noise(size: int) -> str:
    """A text that can't be packed much."""
    return "".join(chr(0x4E00 + (i * 7919) % 20000) for i in range(size))


async def test_a_response_is_found_as_it_was_put(store: ResponseStore) -> None:
    await store.put(ANN, stored())
    assert await store.get(ANN, "resp_1") == stored()
    assert await store.get(ANN, "resp_2") is None


async def test_nobody_sees_the_responses_of_others(store: ResponseStore) -> None:
    await store.put(ANN, stored())
    await store.put(BOB, stored("resp_2", previous="resp_1"))
    assert await store.get(BOB, "resp_1") is None
    assert not await store.delete(BOB, "resp_1")
    assert await store.chain(BOB, "resp_1") == []
    assert await store.chain(BOB, "resp_2") == [stored("resp_2", previous="resp_1")]
    assert await store.get(ANN, "resp_1") == stored()


async def test_a_chain_leads_from_the_oldest_to_the_one_that_was_asked_for(store: ResponseStore) -> None:
    chain = [stored("resp_1"), stored("resp_2", "resp_1"), stored("resp_3", "resp_2")]
    for each in chain:
        await store.put(ANN, each)
    assert await store.chain(ANN, "resp_3") == chain
    assert await store.chain(ANN, "resp_2") == chain[:2]
    assert await store.delete(ANN, "resp_1")
    assert await store.chain(ANN, "resp_3") == chain[1:]


async def test_what_is_deleted_is_gone(store: ResponseStore, database: Database) -> None:
    await store.put(ANN, stored())
    assert await store.delete(ANN, "resp_1")
    assert not await store.delete(ANN, "resp_1")
    assert await store.get(ANN, "resp_1") is None
    assert await space(database) == (0, 0)


async def test_responses_expire_after_a_month(store: ResponseStore, database: Database, clock: Clock) -> None:
    await store.put(ANN, stored())
    clock.time += A_MONTH_SECONDS - 1
    assert await store.get(ANN, "resp_1") == stored()
    clock.time += 1
    assert await store.get(ANN, "resp_1") is None
    assert not await store.delete(ANN, "resp_1")
    await store.put(ANN, stored("resp_2"))
    (count,) = await database.read(lambda connection: connection.execute("SELECT count(*) FROM responses").fetchone())
    assert count == 1


async def test_the_oldest_go_first_when_there_is_no_room(database: Database, clock: Clock) -> None:
    store = ResponseStore(database, max_bytes=20_000, now=clock)
    for number in range(8):
        await store.put(ANN, stored(f"resp_{number}", text=noise(1500)))
    kept = [number for number in range(8) if await store.get(ANN, f"resp_{number}")]
    assert kept == list(range(8 - len(kept), 8))
    assert 2 <= len(kept) < 8
    told, real = await space(database)
    assert told == real <= 20_000


async def test_what_is_larger_than_all_the_room_drives_nothing_out(database: Database, clock: Clock) -> None:
    store = ResponseStore(database, max_bytes=20_000, now=clock)
    await store.put(ANN, stored())
    await store.put(ANN, stored("resp_2", text=noise(20_000)))
    assert await store.get(ANN, "resp_2") is None
    assert await store.get(ANN, "resp_1") == stored()


async def test_a_file_that_is_closed_is_an_error(store: ResponseStore, database: Database) -> None:
    await database.aclose()
    with pytest.raises(StoreError):
        await store.get(ANN, "resp_1")

"""Books: how what a request cost is divided among those that paid, and booked."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from app.calls import Account, Caller, Limits, Usage
from app.errors import RateLimitError
from app.limits import Limiter
from app.metrics import Metrics
from app.routes.books import Books, entries
from app.routes.edge import Edge
from app.routes.record import Record
from app.stores.database import Database
from app.stores.ledger import Entry, Ledger

ASKER = Caller("somebody", Account("a", "t", ""))

USAGE = Usage(10, 5, 3, neurons=6, audio_seconds=1.5, is_priced=True)


@pytest.mark.parametrize(
    ("accounts", "expected"),
    [
        (("a",), [Entry("key", "a", "m", 6, True, 10, 5, 3, 1.5)]),
        (("a", "a"), [Entry("key", "a", "m", 6, True, 10, 5, 3, 1.5, calls=2)]),
        (
            ("a", "b"),
            [Entry("key", "a", "m", 3, True, 5, 2, 1, 0.75), Entry("key", "b", "m", 3, True, 5, 3, 2, 0.75)],
        ),
        (
            ("b", "a", "b"),
            [Entry("key", "b", "m", 4, True, 6, 3, 2, 1.0, calls=2), Entry("key", "a", "m", 2, True, 4, 2, 1, 0.5)],
        ),
    ],
)
def test_each_account_has_its_part_of_the_calls(accounts: tuple[str, ...], expected: list[Entry]) -> None:
    found = [*entries("key", accounts, "m", USAGE)]
    assert [each._replace(neurons=round(each.neurons, 9)) for each in found] == expected


def test_where_calls_did_not_cost_the_same_each_account_has_its_own() -> None:
    found = [*entries("key", ("b", "a", "b"), "m", Usage(neurons=6, is_priced=True), (1.5, 4.0, 0.5))]
    assert found == [Entry("key", "b", "m", 2.0, True, calls=2), Entry("key", "a", "m", 4.0, True)]


@pytest.mark.parametrize("calls", range(1, 12))
def test_nothing_is_lost(calls: int) -> None:
    found = [*entries("key", [f"account{turn % 3}" for turn in range(calls)], "m", USAGE)]
    sums = [sum(values) for values in zip(*(entry[5:8] for entry in found), strict=True)]
    assert sums == [USAGE.prompt_tokens, USAGE.completion_tokens, USAGE.cached_tokens]
    assert sum(entry.calls for entry in found) == calls
    assert sum(entry.neurons for entry in found) == pytest.approx(USAGE.neurons)


def test_what_has_no_price_is_counted_all_the_same() -> None:
    assert [*entries("key", ("a",), "m", Usage(7))] == [Entry("key", "a", "m", 0, False, 7)]


def test_a_record_without_books_lets_everybody_in() -> None:
    record = Record("id", "GET", "/")
    record.admit(ASKER)
    assert (record.caller, record.admission) == ("somebody", None)


@pytest.mark.anyio
async def test_one_that_can_t_be_booked_keeps_no_other_from_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(tmp_path / "flarelay.db")
    await database.open()
    ledger = Ledger(database)
    limiter = Limiter(ledger)
    books = Books(limiter, ledger, Metrics())
    asker = replace(ASKER, limits=Limits(concurrent_requests=3))
    records = [Record("id", "POST", "/v1/embeddings") for _ in range(3)]
    for record in records:
        record.books = books
        record.admit(asker)
        record.model, record.usage, record.accounts = "m", USAGE, ("a",)
    with pytest.raises(RateLimitError):
        limiter.admit(asker)
    records[1].usage = replace(USAGE, neurons="many")  # type: ignore[arg-type] # which no reader lets through
    for record in records:
        record.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert ledger.spent_today() == 12
    assert books.metrics.requests_open == -3
    assert [entry.message for entry in caplog.records] == ["crash"]
    for _ in range(3):
        limiter.admit(asker)  # all have given their places back
    await ledger.aclose()
    await database.aclose()


@pytest.mark.anyio
async def test_what_has_ended_in_this_turn_is_settled_before_anybody_is_refused(tmp_path: Path) -> None:
    database = Database(tmp_path / "flarelay.db")
    await database.open()
    ledger = Ledger(database)
    books = Books(Limiter(ledger, budget=100, accounts=["a"]), ledger, Metrics())

    def ended(neurons: float, caller: Caller = ASKER) -> None:
        record = Record("id", "POST", "/v1/embeddings", books=books)
        record.admit(caller)
        record.model, record.usage, record.accounts = "m", replace(USAGE, neurons=neurons), ("a",)
        record.close()

    ended(40)
    await asyncio.sleep(0)
    for _ in range(30):  # for each of them 2 are set aside
        ended(0.5)
    assert ledger.spent_today() == 40  # there was room for them all: no need to hurry
    ended(0.5)
    assert ledger.spent_today() == 55  # there was none any more, but they have cost less
    limited = replace(ASKER, limits=Limits(concurrent_requests=1))
    ended(1, limited)
    ended(60, limited)  # the one before has ended
    assert ledger.spent_today() == 56.5
    await asyncio.sleep(0)
    with pytest.raises(RateLimitError):
        ended(1)
    await ledger.aclose()
    await database.aclose()


@pytest.mark.anyio
async def test_a_request_that_fails_or_is_cancelled_gives_its_place_back(tmp_path: Path) -> None:
    limiter = Limiter(Ledger(Database(tmp_path / "unused.db")))
    books, asker = Books(limiter, limiter._ledger, Metrics()), replace(ASKER, limits=Limits(concurrent_requests=1))
    fails = iter((True, False, True, False))

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        scope["record"].admit(asker)
        if next(fails):
            raise RuntimeError
        await asyncio.Event().wait()

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    unused: Any = None
    for _ in range(4):
        task = asyncio.create_task(Edge(app, books)(dict(scope), unused, unused))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    books.settle()
    limiter.admit(asker)

import re
from collections.abc import AsyncGenerator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from app.calls import UNLIMITED, Account, Caller, Limits
from app.errors import RateLimitError
from app.limits import Admission, Limiter, duration
from app.stores.database import Database
from app.stores.ledger import Entry, Ledger

pytestmark = pytest.mark.anyio

MIDNIGHT = 86_400.0 * 20_000
NOON = MIDNIGHT - 43_200
OURS = Account("first", "token", "https://api.example")
THEIRS = Account("theirs", "token", "https://api.example", is_ours=False)
MODEL = "@cf/meta/llama-3.1-8b-instruct"

KILLING = re.compile(
    r"credit|balance|permission denied|api key|quota|disabled|violation|operation not allowed|not authorized",
    re.IGNORECASE,
)
"""Words for which One API and new-api switch a channel off."""


class Clock:
    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ledger(tmp_path: Path, clock: Clock) -> AsyncGenerator[Ledger]:
    database = Database(tmp_path / "flarelay.db")
    await database.open()
    ledger = Ledger(database, now=clock)
    yield ledger
    await ledger.aclose()
    await database.aclose()


@pytest.fixture
def limiter(ledger: Ledger, clock: Clock) -> Limiter:
    return Limiter(ledger, now=clock)


@pytest.fixture
def server(ledger: Ledger, clock: Clock) -> Limiter:
    return limiter_of(ledger, clock)


def caller(name: str = "one", account: Account = OURS, **limits: Any) -> Caller:
    return Caller(name, account, limits=Limits(**limits) if limits else UNLIMITED)


def spend(ledger: Ledger, neurons: float, key: str = "one", account: str = "first") -> None:
    ledger.record(Entry(key, account, MODEL, neurons))


def refused(limiter: Limiter, *args: Any) -> RateLimitError:
    with pytest.raises(RateLimitError) as raised:
        limiter.admit(*args)
    assert not KILLING.search(str(raised.value.envelope()))
    return raised.value


def headers(limiter: Limiter, caller: Caller) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in limiter.headers(caller)}


async def test_who_has_no_limits_is_let_in(limiter: Limiter) -> None:
    for _ in range(1000):
        limiter.admit(caller())
    assert limiter.headers(caller()) == []
    assert limiter.remaining_neurons(caller()) is None


async def test_requests_of_a_minute_may_come_at_once_and_then_one_by_one(limiter: Limiter, clock: Clock) -> None:
    asking = caller(requests_per_minute=3)
    for _ in range(3):
        limiter.release(limiter.admit(asking))
    error = refused(limiter, asking)
    assert error.envelope() == {
        "error": {
            "message": "Rate limit reached for this key on requests per min (RPM): Limit 3. Please try again in 20s.",
            "type": "rate_limit_error",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    }
    assert (error.status, error.headers()) == (429, {"retry-after": "20"})
    limiter.admit(caller("other", requests_per_minute=3))
    clock.time += 19.5
    assert refused(limiter, asking).headers() == {"retry-after": "1"}
    clock.time += 0.5
    limiter.admit(asking)
    refused(limiter, asking)
    clock.time += 3600
    for _ in range(3):
        limiter.admit(asking)
    refused(limiter, asking)


async def test_a_clock_that_is_set_back_locks_nobody_out(limiter: Limiter, clock: Clock) -> None:
    asking = caller(requests_per_minute=1)
    limiter.admit(asking)
    clock.time -= 3600
    assert refused(limiter, asking).retry_after_seconds == 60
    clock.time += 59
    assert refused(limiter, asking).retry_after_seconds == 1
    clock.time += 1
    limiter.admit(asking)


@pytest.mark.parametrize("limit", [1, 3, 7, 60, 1000, 9973])
async def test_the_headers_tell_how_many_requests_would_be_let_in(limiter: Limiter, clock: Clock, limit: int) -> None:
    asking = caller(requests_per_minute=limit)
    assert headers(limiter, asking) == {
        "x-ratelimit-limit-requests": str(limit),
        "x-ratelimit-remaining-requests": str(limit),
        "x-ratelimit-reset-requests": "0s",
    }
    for pause in (0, 0.37, 13.1, 60 / limit, 0, 59.999, 60):
        clock.time += pause
        remaining = int(headers(limiter, asking)["x-ratelimit-remaining-requests"])
        for _ in range(remaining):
            limiter.admit(asking)
        refused(limiter, asking)
    assert headers(limiter, asking)["x-ratelimit-remaining-requests"] == "0"


async def test_reset_is_when_the_whole_minute_is_free_again(limiter: Limiter, clock: Clock) -> None:
    asking = caller(requests_per_minute=60)
    for _ in range(6):
        limiter.admit(asking)
    assert headers(limiter, asking)["x-ratelimit-reset-requests"] == "6s"
    clock.time += 6
    assert headers(limiter, asking)["x-ratelimit-remaining-requests"] == "60"


async def test_so_many_requests_run_at_once(limiter: Limiter) -> None:
    asking = caller(concurrent_requests=2)
    one, _other = limiter.admit(asking), limiter.admit(asking)
    error = refused(limiter, asking)
    assert (error.code, error.headers()) == ("rate_limit_exceeded", {"retry-after": "1"})
    assert "concurrent requests: Limit 2" in error.message
    limiter.admit(caller("other", concurrent_requests=2))
    limiter.release(one)
    limiter.admit(asking)
    refused(limiter, asking)
    assert limiter.headers(asking) == []


async def test_a_refusal_counts_as_no_request(limiter: Limiter) -> None:
    asking = caller(requests_per_minute=2, concurrent_requests=1, neurons_per_day=10)
    admission = limiter.admit(asking)
    for _ in range(5):
        refused(limiter, asking)
    limiter.release(admission)
    limiter.release(limiter.admit(asking))
    assert "RPM" in refused(limiter, asking).message


async def test_a_key_spends_its_neurons_until_midnight(limiter: Limiter, ledger: Ledger, clock: Clock) -> None:
    asking = caller(neurons_per_day=5000.5)
    spend(ledger, 5000)
    spend(ledger, 10**6, key="other")
    limiter.admit(asking)
    assert headers(limiter, asking) == {
        "x-ratelimit-limit-neurons": "5000",
        "x-ratelimit-remaining-neurons": "0",
        "x-ratelimit-reset-neurons": "12h0m0s",
        "x-flarelay-remaining-neurons": "0",
    }
    spend(ledger, 0.5, account="second")
    clock.time = MIDNIGHT - 90.5
    error = refused(limiter, asking)
    assert error.envelope() == {
        "error": {
            "message": "This key has used up its allowance of 5,000.5 neurons a day. "
            "The daily one starts anew at 00:00 UTC.",
            "type": "rate_limit_error",
            "param": None,
            "code": "daily_limit_reached",
        }
    }
    assert error.headers() == {"retry-after": "91", "x-should-retry": "false"}
    limiter.admit(caller("other"))
    clock.time = MIDNIGHT
    limiter.admit(asking)
    assert headers(limiter, asking)["x-flarelay-remaining-neurons"] == "5000"


async def test_the_budget_is_of_our_accounts_together(server: Limiter, ledger: Ledger, clock: Clock) -> None:
    spend(ledger, 60)
    spend(ledger, 1000, account="theirs")
    server.admit(caller())
    assert headers(server, caller()) == {"x-flarelay-remaining-neurons": "40"}
    spend(ledger, 40, key="other", account="second")
    error = refused(server, caller())
    assert error.message.startswith("This server has used up its allowance of 100 neurons a day.")
    assert (error.code, error.retry_after_seconds, error.should_retry) == ("daily_limit_reached", 43_200, False)
    refused(server, caller(requests_per_minute=5))
    assert server.remaining_neurons(caller()) == 0
    clock.time = MIDNIGHT
    server.admit(caller())


async def test_who_brings_an_account_has_no_budget(server: Limiter, ledger: Ledger) -> None:
    spend(ledger, 100)
    server.admit(caller(account=THEIRS))
    assert headers(server, caller(account=THEIRS)) == {}
    spend(ledger, 5, key="two", account="theirs")
    refused(server, caller("two", THEIRS, neurons_per_day=5))


async def test_when_cloudflare_says_that_nothing_is_left_nothing_is(ledger: Ledger, clock: Clock) -> None:
    limiter = Limiter(ledger, budget=100, accounts=["first"], is_spent=lambda: True, now=clock)
    told = limiter.admit(caller()).headers  # what is kept of former answers is still to be had
    assert told == [(b"x-flarelay-remaining-neurons", b"0")]
    assert headers(limiter, caller()) == {"x-flarelay-remaining-neurons": "0"}


async def test_a_budget_of_nothing_lets_nobody_in(ledger: Ledger, clock: Clock) -> None:
    refused(Limiter(ledger, budget=0, accounts=["first"], now=clock), caller())


async def test_what_is_left_is_the_least_of_key_and_server(server: Limiter, ledger: Ledger) -> None:
    spend(ledger, 30)
    assert server.remaining_neurons(caller(neurons_per_day=50)) == 20
    assert server.remaining_neurons(caller(neurons_per_day=500)) == 70
    assert headers(server, caller(neurons_per_day=500))["x-flarelay-remaining-neurons"] == "70"


async def test_running_requests_hold_what_they_are_expected_to_cost(server: Limiter, ledger: Ledger) -> None:
    admission = server.admit(caller())
    spend(ledger, 1)
    server.release(admission, 1.0)
    spend(ledger, 95)
    running = [server.admit(caller()) for _ in range(4)]
    error = refused(server, caller())
    assert (error.code, error.headers()) == ("rate_limit_exceeded", {"retry-after": "2"})
    assert "set aside for requests that are running" in error.message
    server.release(running.pop())
    running.append(server.admit(caller()))
    for admission in running:
        server.release(admission)
    spend(ledger, 3.5)
    assert refused(server, caller()).code == "daily_limit_reached"  # it would go beyond


@pytest.mark.parametrize("seed", range(25))
async def test_a_leave_that_is_given_again_is_the_one_that_would_be_given_now(
    ledger: Ledger, clock: Clock, seed: int
) -> None:
    """Of two limiters that see the same, one looks anew each time."""
    dice, again, anew = Random(seed), limiter_of(ledger, clock), limiter_of(ledger, clock)
    askers = [caller(), caller("other"), caller("theirs", THEIRS), caller("limited", neurons_per_day=60)]
    running = list[tuple[Admission, Admission]]()
    given = 0
    for _ in range(200):
        turn = dice.random()
        if turn < 0.6:
            asker, anew._latest = dice.choice(askers), None
            given += again._latest is not None
            found, expected = tried(again, asker), tried(anew, asker)
            if isinstance(found, Admission) and isinstance(expected, Admission):
                assert (found.headers, found.key is None) == (expected.headers, expected.key is None)
                running.append((found, expected))
            else:
                assert found == expected
        elif turn < 0.8 and running:
            neurons = dice.choice([None, 0.1, 1.0, 4.0])
            for limiter, admission in zip((again, anew), running.pop(dice.randrange(len(running))), strict=True):
                limiter.release(admission, neurons)
        elif turn < 0.95:
            spend(ledger, dice.choice([0, 0.5, 2]), account=dice.choice(["first", "second", "theirs"]))
        else:
            clock.time += dice.choice([1, 7200])
        assert again._server.running == anew._server.running
    assert given > 10


def tried(limiter: Limiter, asker: Caller) -> Admission | dict[str, Any]:
    """The leave, or the refusal."""
    try:
        return limiter.admit(asker)
    except RateLimitError as failure:
        return failure.envelope()


def limiter_of(ledger: Ledger, clock: Clock) -> Limiter:
    """With two accounts, and 100 neurons a day."""
    return Limiter(ledger, budget=100, accounts=("first", "second"), now=clock)


async def test_a_request_is_expected_to_cost_the_average_of_the_latest(limiter: Limiter) -> None:
    asking = caller(neurons_per_day=1000)
    for neurons in (1.0, 6.0, None, float("nan")):
        limiter.release(limiter.admit(asking), neurons)
    assert limiter._expected == 2.0


async def test_one_dear_request_does_not_close_the_day(limiter: Limiter, ledger: Ledger) -> None:
    asking = caller(neurons_per_day=100)
    limiter.release(limiter.admit(asking), 5000)
    spend(ledger, 98)
    limiter.admit(asking)
    assert refused(limiter, asking).code == "rate_limit_exceeded"
    spend(ledger, 0.1)
    assert refused(limiter, asking).code == "daily_limit_reached"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0001, "1ms"),
        (0.12, "120ms"),
        (0.9999, "1s"),
        (1, "1s"),
        (8.64, "8.64s"),
        (59.9999, "1m0s"),
        (60, "1m0s"),
        (61.5, "1m1.5s"),
        (3600, "1h0m0s"),
        (86_399, "23h59m59s"),
    ],
)
async def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text

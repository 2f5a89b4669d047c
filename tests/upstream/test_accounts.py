"""Which account takes a call, over a day with every kind of fault."""

import logging
from collections import Counter
from contextlib import ExitStack
from typing import Any

import pytest

from app.calls import Account, Failure, FailureKind
from app.upstream.accounts import MOST_KEPT, Accounts, Parked

K = FailureKind
NOON = 20_000 * 86_400 + 43_200.0
MIDNIGHT = NOON + 43_200
URL = "https://api.test"
ONE, TWO, THREE = (Account(name, f"token-of-{name}", URL) for name in ("one", "two", "three"))
OURS = (ONE, TWO, THREE)
THEIRS = Account("theirs", "token-of-theirs", URL, is_ours=False)
MODEL, OTHER = "@cf/some/model", "@cf/other/model"


class Clock:
    def __init__(self, seconds: float = NOON) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(clock: Clock) -> Accounts:
    return Accounts(now=clock)


def failed(kind: FailureKind, code: int | None = None, **details: Any) -> Failure:
    return Failure(kind, "Some text", code=code, **details)


SPENT = failed(K.QUOTA, 4006, status=429)
REFUSED = failed(K.AUTHENTICATION, 10000, status=401)


def favourite(accounts: Accounts, affinity: str, among: Any = OURS) -> Account:
    return accounts.choose(among, affinity, MODEL)


def test_one_account_takes_everything(accounts: Accounts) -> None:
    assert accounts.choose([ONE], None) is ONE
    assert accounts.choose([ONE], "session", MODEL, {"one"}) is ONE


def test_without_affinity_the_accounts_take_turns(accounts: Accounts) -> None:
    assert Counter(accounts.choose(OURS, None).id for _ in range(30)) == {"one": 10, "two": 10, "three": 10}


def test_without_affinity_the_least_loaded_is_taken(accounts: Accounts) -> None:
    with accounts.lease(ONE), accounts.lease(THREE):
        assert {accounts.choose(OURS, None).id for _ in range(5)} == {"two"}


def test_an_affinity_meets_the_same_account_in_every_process(clock: Clock, accounts: Accounts) -> None:
    chosen = {favourite(Accounts(now=clock), "session").id for _ in range(5)}
    assert chosen == {favourite(accounts, "session", OURS[::-1]).id}
    assert favourite(accounts, "lone \ud800 surrogate") in OURS


def test_affinities_are_spread_over_the_accounts(accounts: Accounts) -> None:
    counts = Counter(favourite(accounts, f"session{number}").id for number in range(300))
    assert min(counts.values()) > 60


def test_when_an_account_is_away_only_its_own_affinities_move(accounts: Accounts) -> None:
    sessions = [f"session{number}" for number in range(200)]
    before = {session: favourite(accounts, session) for session in sessions}
    accounts.judge(TWO, SPENT, MODEL)
    after = {session: favourite(accounts, session) for session in sessions}
    assert {session for session in sessions if before[session] != after[session]} == {
        session for session in sessions if before[session] is TWO
    }
    assert set(after.values()) == {ONE, THREE}


@pytest.mark.parametrize(("running", "stays"), [(8, True), (9, False)])
def test_an_affinity_is_given_up_for_an_account_that_is_much_idler(
    accounts: Accounts, running: int, stays: bool
) -> None:
    preferred = favourite(accounts, "session")
    with ExitStack() as stack:
        for _ in range(running):
            stack.enter_context(accounts.lease(preferred))
        assert accounts.running(preferred) == running
        assert (favourite(accounts, "session") is preferred) is stays
    assert accounts.running(preferred) == 0
    assert favourite(accounts, "session") is preferred


def test_a_lease_ends_with_a_failure_too(accounts: Accounts) -> None:
    with pytest.raises(Failure), accounts.lease(ONE), accounts.lease(ONE):
        raise SPENT
    assert accounts.running(ONE) == 0
    assert not accounts._running


def test_a_lease_that_is_kept_ends_once_with_its_release(accounts: Accounts) -> None:
    with accounts.lease(ONE), accounts.lease(ONE) as lease:
        release = lease.keep()
    assert accounts.running(ONE) == 1
    for _ in range(2):
        release()
        assert accounts.running(ONE) == 0


def test_a_lease_may_end_before_its_block(accounts: Accounts) -> None:
    with accounts.lease(ONE) as lease:
        lease.release()
        assert accounts.running(ONE) == 0
        lease.keep()
    assert accounts.running(ONE) == 0


def test_what_was_tried_comes_last(accounts: Accounts) -> None:
    assert accounts.choose(OURS, "session", MODEL, {"one", "three"}) is TWO
    accounts.judge(TWO, failed(K.SERVER), MODEL)
    assert accounts.choose(OURS, "session", MODEL, {"one", "three"}) is TWO
    assert accounts.choose((ONE, TWO), None, MODEL, {"one", "two"}) is ONE


# How an account that failed at a call stands afterwards: is there another one to ask, is this one out for the model,
# for other models too, and until when.
OUTCOMES: list[tuple[Failure, bool, bool, bool, float]] = [
    (failed(K.CAPACITY, 3040), True, True, False, 30),
    (failed(K.RATE_LIMIT), True, True, False, 30),
    (failed(K.RATE_LIMIT, retry_after_seconds=5), True, True, False, 5),
    (failed(K.RATE_LIMIT, retry_after_seconds=80_000), True, True, False, 300),
    (failed(K.SERVER), True, True, True, 30),
    (failed(K.CONNECTION), True, True, True, 30),
    (failed(K.BROKEN, is_retryable=True), True, True, True, 30),
    (failed(K.BROKEN), False, True, True, 30),
    (failed(K.TIMEOUT, is_retryable=True), True, True, True, 30),
    (failed(K.TIMEOUT), False, True, True, 30),
    (failed(K.QUOTA, 2041), True, True, False, 600),
    (failed(K.QUOTA, 2021), True, True, False, 600),
    (failed(K.QUOTA, 5006, status=400), True, True, False, 600),  # a message that repeats a caller's words
    (failed(K.QUOTA, status=400), True, True, False, 600),
    (failed(K.PERMISSION, 5035), True, False, False, 0),
    (failed(K.BAD_REQUEST), False, False, False, 0),
    (failed(K.CONTEXT_LENGTH), False, False, False, 0),
    (failed(K.CONTENT_FILTER, 2016), False, False, False, 0),
    (failed(K.MODEL_NOT_FOUND), False, False, False, 0),
]


@pytest.mark.parametrize(("failure", "moves", "rests", "rests_wholly", "seconds"), OUTCOMES)
def test_a_fault_rests_an_account_for_a_while(
    clock: Clock, accounts: Accounts, failure: Failure, moves: bool, rests: bool, rests_wholly: bool, seconds: float
) -> None:
    assert accounts.judge(ONE, failure, MODEL) is moves
    clock.seconds += max(seconds - 0.5, 0)
    for model, is_resting in ((MODEL, rests), (OTHER, rests_wholly)):
        chosen = {accounts.choose((ONE, TWO), None, model).id for _ in range(2)}
        assert chosen == ({"two"} if is_resting else {"one", "two"})
    clock.seconds += 0.5
    assert {accounts.choose((ONE, TWO), None, MODEL).id for _ in range(2)} == {"one", "two"}
    assert accounts.parked() == []


def test_when_all_cool_the_soonest_warm_is_taken(clock: Clock, accounts: Accounts) -> None:
    for account in OURS:
        accounts.judge(account, failed(K.SERVER), MODEL)
        clock.seconds += 1
    assert accounts.choose(OURS[::-1], "session", MODEL) is ONE
    assert accounts.choose(OURS, None, MODEL, {"one"}) is TWO


def test_a_shorter_cooling_does_not_end_a_longer_one(clock: Clock, accounts: Accounts) -> None:
    accounts.judge(ONE, failed(K.SERVER), MODEL)
    accounts.judge(ONE, failed(K.SERVER, retry_after_seconds=1), MODEL)
    clock.seconds += 2
    assert accounts.choose((ONE, TWO), None, MODEL) is TWO


def test_a_success_warms_the_account_and_the_model(accounts: Accounts) -> None:
    accounts.judge(ONE, failed(K.SERVER), MODEL)
    accounts.judge(ONE, failed(K.CAPACITY), OTHER)
    accounts.succeeded(ONE, MODEL)
    assert {accounts.choose((ONE, TWO), None, MODEL).id for _ in range(2)} == {"one", "two"}
    assert {accounts.choose((ONE, TWO), None, OTHER).id for _ in range(2)} == {"two"}
    accounts.succeeded(THEIRS)


@pytest.mark.parametrize("code", [3036, 4006, None])
def test_a_spent_account_is_parked_until_midnight(clock: Clock, accounts: Accounts, code: int | None) -> None:
    assert accounts.judge(ONE, failed(K.QUOTA, code, status=429), MODEL)
    [parked] = accounts.parked()
    assert (parked.id, parked.reason, parked.is_ours) == ("one", K.QUOTA, True)
    assert MIDNIGHT <= parked.until <= MIDNIGHT + 5
    clock.seconds = MIDNIGHT - 0.1
    assert {accounts.choose((ONE, TWO), None, OTHER).id for _ in range(3)} == {"two"}
    accounts.succeeded(ONE, MODEL)  # a call that had begun before
    assert {accounts.choose((ONE, TWO), None, MODEL).id for _ in range(3)} == {"two"}
    clock.seconds = MIDNIGHT + 5
    assert accounts.parked() == []
    assert {accounts.choose((ONE, TWO), None, MODEL).id for _ in range(2)} == {"one", "two"}
    assert accounts.choose([ONE], None) is ONE


@pytest.mark.parametrize(
    ("at", "least", "most"),
    [
        (MIDNIGHT - 0.2, MIDNIGHT, MIDNIGHT + 5),
        (MIDNIGHT, MIDNIGHT + 60, MIDNIGHT + 60),
        (MIDNIGHT + 299, MIDNIGHT + 359, MIDNIGHT + 359),
        (MIDNIGHT + 300, MIDNIGHT + 86_400, MIDNIGHT + 86_405),
    ],
)
def test_around_midnight_yesterdays_refusal_does_not_cost_the_new_day(
    clock: Clock, accounts: Accounts, at: float, least: float, most: float
) -> None:
    clock.seconds = at
    accounts.judge(ONE, SPENT, MODEL)
    [parked] = accounts.parked()
    assert least <= parked.until <= most


def test_when_all_are_spent_it_is_one_429_with_the_time_until_the_reset(clock: Clock, accounts: Accounts) -> None:
    accounts.judge(THREE, REFUSED, MODEL)
    for account in (ONE, TWO):
        accounts.judge(account, SPENT, MODEL)
    with pytest.raises(Failure) as caught:
        accounts.choose(OURS, "session", MODEL)
    failure = caught.value
    assert (failure.kind, failure.status) == (K.QUOTA, 429)
    assert failure.retry_after_seconds == min(each.until for each in accounts.parked()[1:]) - NOON
    assert failure.message.startswith("All Cloudflare accounts have spent their neurons of the day.")


def test_the_only_account_is_always_asked(accounts: Accounts) -> None:
    accounts.judge(ONE, SPENT, MODEL)
    assert accounts.choose([ONE], None, MODEL) is ONE
    assert [parked.id for parked in accounts.parked()] == [ONE.id]


@pytest.mark.parametrize(
    ("failure", "kind", "status"),
    [
        (REFUSED, K.AUTHENTICATION, 401),
        (failed(K.AUTHENTICATION, status=401), K.AUTHENTICATION, 401),
        (failed(K.AUTHENTICATION, status=403), K.AUTHENTICATION, 401),
        (failed(K.PERMISSION, 3023, status=403), K.AUTHENTICATION, 401),
        (failed(K.CONFIGURATION, 7003, status=404), K.CONFIGURATION, 404),
    ],
)
def test_a_refused_account_of_ours_is_out_for_ten_minutes(
    clock: Clock, accounts: Accounts, failure: Failure, kind: FailureKind, status: int
) -> None:
    assert accounts.judge(ONE, failure, MODEL)
    assert accounts.choose((ONE, TWO), None, MODEL) is TWO
    accounts.judge(TWO, failure, MODEL)
    with pytest.raises(Failure) as caught:
        accounts.choose((ONE, TWO), None, MODEL)
    assert (caught.value.kind, caught.value.status, caught.value.retry_after_seconds) == (kind, status, 600)
    clock.seconds += 600
    assert accounts.choose((ONE, TWO), "session", MODEL) in (ONE, TWO)


@pytest.mark.parametrize(
    ("failure", "is_out"),
    [
        (failed(K.CONFIGURATION, 7003, status=404), False),  # what a model's strange name comes to as well
        (failed(K.AUTHENTICATION, status=403), False),  # a page of a firewall that did not like the text
        (REFUSED, True),
        (failed(K.AUTHENTICATION, status=401), True),
        (failed(K.PERMISSION, 3023), True),
    ],
)
def test_an_account_that_has_answered_is_not_out_for_what_a_caller_sent(
    accounts: Accounts, failure: Failure, is_out: bool
) -> None:
    accounts.succeeded(ONE, MODEL)
    assert accounts.judge(ONE, failure, MODEL)
    assert bool(accounts.parked()) is is_out


def test_it_is_said_loudly_and_once_and_without_the_token(
    accounts: Accounts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        accounts.judge(ONE, REFUSED, MODEL)
    accounts.judge(TWO, SPENT, MODEL)
    out, parked = caplog.records
    assert (out.name, out.levelno, out.getMessage()) == ("flarelay", logging.ERROR, "account taken out")
    fields = {"account": "one", "reason": "Some text", "kind": "authentication", "code": 10000, "seconds": 600}
    assert out.__dict__["fields"] == fields
    assert (parked.levelno, parked.__dict__["fields"]["account"]) == (logging.WARNING, "two")
    assert ONE.token not in caplog.text
    clock.seconds += 601
    accounts.judge(ONE, REFUSED, MODEL)
    assert len(caplog.records) == 3


def test_a_callers_account_is_never_out_for_its_token(accounts: Accounts, caplog: pytest.LogCaptureFixture) -> None:
    assert accounts.judge(THEIRS, REFUSED, MODEL)
    assert accounts.judge(THEIRS, failed(K.CONFIGURATION, 7003), MODEL)
    assert accounts.choose([THEIRS], None, MODEL) is THEIRS
    assert (accounts.parked(), caplog.records) == ([], [])


def test_a_callers_spent_account_is_parked_for_that_token_alone(
    accounts: Accounts, caplog: pytest.LogCaptureFixture
) -> None:
    accounts.judge(THEIRS, SPENT, MODEL)
    other = Account(THEIRS.id, "another token", URL, is_ours=False)
    assert accounts.choose([THEIRS, other], None, MODEL) is other
    assert [parked.is_ours for parked in accounts.parked()] == [False]
    assert caplog.records == []


@pytest.mark.parametrize("failure", [REFUSED, failed(K.QUOTA, status=429), failed(K.QUOTA, 4006)])
def test_the_key_of_another_provider_says_nothing_about_the_account(
    clock: Clock, accounts: Accounts, failure: Failure
) -> None:
    assert accounts.judge(ONE, failure, "openai/gpt-4.1")
    assert accounts.parked() == []
    assert accounts.choose((ONE, TWO), None, "openai/gpt-4.1") is TWO
    assert {accounts.choose((ONE, TWO), None, MODEL).id for _ in range(2)} == {"one", "two"}


def test_callers_with_made_up_accounts_do_not_fill_the_memory(clock: Clock, accounts: Accounts) -> None:
    accounts.judge(ONE, SPENT, MODEL)
    accounts.judge(TWO, failed(K.SERVER), MODEL)
    for number in range(2 * MOST_KEPT):
        accounts.judge(Account(str(number), "token", URL, is_ours=False), SPENT, MODEL)
    assert 0.9 * MOST_KEPT <= len(accounts._parked) + len(accounts._cooling) <= MOST_KEPT
    assert [parked.id for parked in accounts.parked() if parked.is_ours] == ["one"]
    clock.seconds += 2 * 86_400
    for number in range(MOST_KEPT):
        accounts.judge(Account(str(number), "other token", URL, is_ours=False), failed(K.SERVER), MODEL)
    assert len(accounts._parked) == 0


def test_an_account_of_ours_that_would_cost_money_is_left_to_the_others(clock: Clock) -> None:
    neurons = {"one": 10_000.0, "two": 9_999.0, "three": 12_000.0, "theirs": 99_999.0}
    accounts = Accounts(now=clock, spent=lambda account: neurons[account], free_neurons=10_000)
    assert {accounts.choose(OURS, f"session {number}", MODEL).id for number in range(50)} == {"two"}
    assert accounts.choose([THEIRS, ONE], None) is THEIRS
    assert accounts.choose([ONE], None) is ONE  # the limits of the server are about the only one
    neurons["two"] = 10_000
    with pytest.raises(Failure) as caught:
        accounts.choose(OURS, None)
    assert (caught.value.kind, caught.value.status) == (K.QUOTA, 429)
    assert caught.value.retry_after_seconds == MIDNIGHT - NOON
    assert accounts.parked() == []


def test_accounts_are_spent_when_all_of_them_are(accounts: Accounts, clock: Clock) -> None:
    assert not accounts.are_spent(["one", "two"])
    accounts.judge(ONE, SPENT)
    accounts.judge(TWO, REFUSED)
    assert not accounts.are_spent(["one", "two"])
    assert accounts.are_spent(["one"])
    assert not accounts.are_spent([])
    clock.seconds = MIDNIGHT + 10
    assert not accounts.are_spent(["one"])


def test_what_is_parked_is_told_by_id() -> None:
    assert Parked("one", K.QUOTA, 1.0, True)._fields == ("id", "reason", "until", "is_ours")


@pytest.mark.parametrize(
    "failure", [failed(K.AUTHENTICATION, 2009, status=401), failed(K.CONFIGURATION, 2001, status=400)]
)
def test_a_faulty_gateway_says_nothing_about_the_account(accounts: Accounts, failure: Failure) -> None:
    assert not accounts.judge(ONE, failure, MODEL)
    assert accounts.parked() == []

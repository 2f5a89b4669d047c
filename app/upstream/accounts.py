"""Accounts: which account takes the next call, which are parked, and what a failure says about the one that met it."""

import hashlib
import logging
import random
import time
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import NamedTuple

from app.calls import Account, Failure, FailureKind
from app.upstream.failure_codes import OF_THE_DAY
from app.upstream.providers import is_provider_model

logger = logging.getLogger("flarelay")

DAY_SECONDS = 86_400
JITTER_SECONDS = 5.0
"""Spreads the first calls of a new day."""
STALE_SECONDS = 300
"""So long after midnight a spent allowance may still be yesterday's."""
LAG_SECONDS = 60
"""How long such an account is left alone."""
OUT_SECONDS = 600
"""How long an account is left alone whose token or id Cloudflare does not accept."""
LONGEST_COOLING_SECONDS = 300
"""However long Cloudflare asks to wait: one of its machines may be slow, not all of an account's."""
MORE_RUNNING = 8
"""Calls by which an account may be busier than the idlest before its prompt caches are given up."""
MOST_KEPT = 10_000
"""Callers bring accounts of their own, and made-up ones too."""

ACCOUNT_BLOCKED = 3023
REFUSED = {9106, 9109, 10000}
"""Codes by which Cloudflare refuses a token whatever the request was."""
OF_THE_GATEWAY = {2001, 2009}
"""Codes of an AI Gateway that does not exist, or does not accept its token."""
SPENT_STATUSES = {402, 429}
"""Without a code the words alone would do, and Cloudflare's messages repeat those of callers."""

MOVING = {
    FailureKind.QUOTA,
    FailureKind.CAPACITY,
    FailureKind.RATE_LIMIT,
    FailureKind.SERVER,
    FailureKind.CONNECTION,
    FailureKind.AUTHENTICATION,
    FailureKind.PERMISSION,  # another account may have Workers Paid
    FailureKind.CONFIGURATION,
}
"""Failures that another account may not have."""
OF_THE_MODEL = {FailureKind.CAPACITY, FailureKind.RATE_LIMIT}
OF_THE_ACCOUNT = {FailureKind.SERVER, FailureKind.CONNECTION, FailureKind.BROKEN, FailureKind.TIMEOUT}
OF_THE_TOKEN = {FailureKind.AUTHENTICATION, FailureKind.CONFIGURATION}

_Key = tuple[str, bytes]
"""An id and the digest of a token: who has another token of the same account is somebody else."""


class Parked(NamedTuple):
    """An account that takes no calls for now."""

    id: str
    reason: FailureKind
    until: float
    """Unix seconds."""
    is_ours: bool


class Lease:
    """While it is held, a call runs on the account: within a `with`, or until `release` if it is kept."""

    __slots__ = ("_id", "_is_held", "_is_kept", "_running")

    def __init__(self, running: dict[str, int], account_id: str) -> None:
        self._running = running
        self._id = account_id
        self._is_held = self._is_kept = False

    def keep(self) -> Callable[[], None]:
        """Hold it beyond the `with`, up to the first call of what is returned."""
        self._is_kept = True
        return self.release

    def release(self) -> None:
        """At least once."""
        if not self._is_held:
            return
        self._is_held = False
        left = self._running[self._id] - 1
        if left:
            self._running[self._id] = left
        else:
            del self._running[self._id]

    def __enter__(self) -> "Lease":
        self._running[self._id] = self._running.get(self._id, 0) + 1
        self._is_held = True
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _failure: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if not self._is_kept:
            self.release()


class Accounts:
    """What is known about the accounts, in this process."""

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.time,
        cool_seconds: float = 30.0,
        spent: Callable[[str], float] | None = None,
        free_neurons: float | None = None,
    ) -> None:
        """`now` is the Unix time in seconds; `cool_seconds` is how long an account rests after a passing fault.

        `free_neurons`: one of ours that has `spent` as many today is to spend no more, while there are others.
        """
        self._now = now
        self._spent_today = spent or (lambda _: 0.0)
        self._free_neurons = free_neurons
        self._cool_seconds = cool_seconds
        self._running: dict[str, int] = {}
        self._parked: dict[_Key, Parked] = {}
        self._cooling: dict[tuple[_Key, str], float] = {}
        """Of an account and a model, or of an account and "" for all its models, until when."""
        self._proven: set[str] = set()
        """Ids of accounts of ours that have answered: they and their tokens are right."""
        self._turn = 0

    def choose(
        self, accounts: Sequence[Account], affinity: str | None, model: str = "", tried: Collection[str] = ()
    ) -> Account:
        """The account for the next try of a call; `tried` are the ids of those that failed at it.

        One that was tried is chosen again only if there is no other. One that cools is chosen, the soonest warm first,
        rather than none. Raises Failure when all are parked: QUOTA with the seconds until the first is back, or
        AUTHENTICATION or CONFIGURATION when Cloudflare accepts none of them. The only account there is is always asked:
        its owner may have put it right by now.
        """
        if len(accounts) == 1:
            return accounts[0]
        now = self._now()
        parked = [self._parking(account, now) or self._used_up(account, now) for account in accounts]
        awake = [account for account, parking in zip(accounts, parked, strict=True) if parking is None]
        if not awake:
            raise _exhausted([parking for parking in parked if parking], now)
        fresh = [account for account in awake if account.id not in tried]
        warm = [account for account in fresh if self._warm_at(account, model) <= now]
        if not warm:
            return min(fresh or awake, key=lambda account: self._warm_at(account, model))
        return warm[0] if len(warm) == 1 else self._best(warm, affinity)

    def judge(self, account: Account, failure: Failure, model: str = "") -> bool:
        """Park or cool an account that failed to answer. Whether another one might answer in its place."""
        kind = failure.kind
        if failure.code in OF_THE_GATEWAY:
            return False  # every account has it under the same id, and mostly with the same token
        if is_provider_model(model) and kind in (FailureKind.QUOTA, FailureKind.AUTHENTICATION):
            self._cool(account, model, OUT_SECONDS)  # the provider's key, not Cloudflare's
        elif kind is FailureKind.QUOTA:
            self._spend(account, failure, model)
        elif kind in OF_THE_MODEL:
            self._cool(account, model, self._cool_seconds_of(failure))
        elif kind in OF_THE_ACCOUNT:
            self._cool(account, "", self._cool_seconds_of(failure))
        elif self._is_accounts_fault(account, failure):
            self._take_out(account, failure)
        if kind in (FailureKind.TIMEOUT, FailureKind.BROKEN):
            return failure.is_retryable  # a call that may still be running is paid twice elsewhere
        return kind in MOVING

    def lease(self, account: Account) -> Lease:
        """For a `with` around a call, up to the end of its stream."""
        return Lease(self._running, account.id)

    def succeeded(self, account: Account, model: str = "") -> None:
        """The account is warm again, and so is the model on it."""
        if account.is_ours:
            self._proven.add(account.id)
        if self._cooling:
            key = _key(account)
            self._cooling.pop((key, ""), None)
            self._cooling.pop((key, model), None)

    def running(self, account: Account) -> int:
        """How many calls run on the account."""
        return self._running.get(account.id, 0)

    def parked(self) -> list[Parked]:
        """Those that take no calls now, the callers' own among them."""
        now = self._now()
        return [parking for parking in self._parked.values() if parking.until > now]

    def are_spent(self, ids: Collection[str]) -> bool:
        """Whether Cloudflare says of all of these accounts of ours that they have no neurons left today."""
        if not self._parked:
            return False
        spent = {each.id for each in self.parked() if each.is_ours and each.reason is FailureKind.QUOTA}
        return bool(ids) and spent.issuperset(ids)

    def _parking(self, account: Account, now: float) -> Parked | None:
        if not self._parked:
            return None
        key = _key(account)
        parking = self._parked.get(key)
        if parking and parking.until <= now:
            del self._parked[key]
            return None
        return parking

    def _used_up(self, account: Account, now: float) -> Parked | None:
        """For an account that would cost money by now: Cloudflare itself refuses only those that can't pay."""
        if self._free_neurons is None or not account.is_ours or self._spent_today(account.id) < self._free_neurons:
            return None
        return Parked(account.id, FailureKind.QUOTA, now - now % DAY_SECONDS + DAY_SECONDS, is_ours=True)

    def _warm_at(self, account: Account, model: str) -> float:
        if not self._cooling:
            return 0
        key = _key(account)
        return max(self._cooling.get((key, ""), 0), self._cooling.get((key, model), 0))

    def _best(self, warm: Sequence[Account], affinity: str | None) -> Account:
        least = min(map(self.running, warm))
        if affinity is not None:
            # Rendezvous hashing: without one account only the calls that it had go elsewhere.
            preferred = max(warm, key=lambda account: _score(affinity, account.id))
            if self.running(preferred) <= least + MORE_RUNNING:
                return preferred
        idle = [account for account in warm if self.running(account) == least]
        self._turn += 1
        return idle[self._turn % len(idle)]

    def _spend(self, account: Account, failure: Failure, model: str) -> None:
        is_coded = failure.code in OF_THE_DAY
        if not is_coded and (failure.code is not None or failure.status not in SPENT_STATUSES):
            self._cool(account, model, OUT_SECONDS)
            return
        now = self._now()
        since_midnight = now % DAY_SECONDS
        until = now + LAG_SECONDS
        if since_midnight >= STALE_SECONDS:
            jitter = random.uniform(0, JITTER_SECONDS)  # noqa: S311 - spreads calls, no secret
            until = now - since_midnight + DAY_SECONDS + jitter
        self._park(account, failure, until, logging.WARNING, "account parked")

    def _take_out(self, account: Account, failure: Failure) -> None:
        if account.is_ours:
            self._park(account, failure, self._now() + OUT_SECONDS, logging.ERROR, "account taken out")

    def _is_accounts_fault(self, account: Account, failure: Failure) -> bool:
        """Whether a refusal is about the account, and not about what a caller sent: some are worded the same."""
        if failure.code == ACCOUNT_BLOCKED:
            return True
        if failure.kind not in OF_THE_TOKEN:
            return False
        return failure.code in REFUSED or failure.status == 401 or not self._is_proven(account)

    def _is_proven(self, account: Account) -> bool:
        return account.is_ours and account.id in self._proven

    def _park(self, account: Account, failure: Failure, until: float, level: int, event: str) -> None:
        """Says so once, however many calls were running."""
        key = _key(account)
        known = self._parked.get(key)
        if known and known.until > self._now():
            return
        self._make_room()
        self._parked[key] = Parked(account.id, failure.kind, until, account.is_ours)
        if account.is_ours:
            fields = {"account": account.id, "reason": failure.message, "kind": str(failure.kind), "code": failure.code}
            logger.log(level, event, extra={"fields": fields | {"seconds": round(until - self._now())}})

    def _cool(self, account: Account, model: str, seconds: float) -> None:
        self._make_room()
        place = (_key(account), model)
        self._cooling[place] = max(self._cooling.get(place, 0), self._now() + seconds)

    def _cool_seconds_of(self, failure: Failure) -> float:
        asked = failure.retry_after_seconds
        return min(self._cool_seconds if asked is None else asked, LONGEST_COOLING_SECONDS)

    def _make_room(self) -> None:
        if len(self._parked) + len(self._cooling) < MOST_KEPT:
            return
        now = self._now()
        self._parked = {key: parking for key, parking in self._parked.items() if parking.until > now}
        self._cooling = {place: until for place, until in self._cooling.items() if until > now}
        while len(self._parked) + len(self._cooling) > MOST_KEPT * 0.9:  # callers' inventions: ours are no thousands
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        if self._cooling:
            del self._cooling[next(iter(self._cooling))]
            return
        theirs = (key for key, parking in self._parked.items() if not parking.is_ours)
        del self._parked[next(theirs, next(iter(self._parked)))]


def _key(account: Account) -> _Key:
    return account.id, hashlib.sha256(account.token.encode("utf-8", "surrogatepass")).digest()


def _score(affinity: str, account_id: str) -> bytes:
    """The same in every process."""
    text = f"{affinity}\0{account_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8).digest()


def _exhausted(parked: Sequence[Parked], now: float) -> Failure:
    spent = [parking.until for parking in parked if parking.reason is FailureKind.QUOTA]
    if spent:
        message = (
            "All Cloudflare accounts have spent their neurons of the day. The daily allowance starts anew at 00:00 UTC."
        )
        return Failure(FailureKind.QUOTA, message, status=429, retry_after_seconds=min(spent) - now)
    is_id = all(parking.reason is FailureKind.CONFIGURATION for parking in parked)
    return Failure(
        FailureKind.CONFIGURATION if is_id else FailureKind.AUTHENTICATION,
        "Cloudflare accepts none of the accounts. Their ids and API tokens have to be corrected.",
        status=404 if is_id else 401,
        retry_after_seconds=min(parking.until for parking in parked) - now,
        account=", ".join(parking.id for parking in parked),
    )

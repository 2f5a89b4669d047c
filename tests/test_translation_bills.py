"""Translations in the ledger: each account is told as much as it has paid."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.serving import Cloudflare, cloudflare, connected, flarelay
from tests.test_accounts import TOKENS, paid

ADMIN = "key-of-the-admin"
SENTENCES = (
    "The harbour was quiet that morning.",
    "Three boats came in before noon, and a fourth one that nobody knew.",
    "Rain.",
    "Somebody had left a letter for the keeper of the lighthouse under a stone.",
    "He read it twice.",
)


@contextmanager
def behind(upstream: Cloudflare, data_dir: Path, **options: Any) -> Iterator[httpx2.Client]:
    """A client of a server with three accounts."""
    accounts = ",".join(f"{name}:{token}" for name, token in TOKENS.items())
    own = {"cloudflare_account_id": None, "cloudflare_api_token": None, "cloudflare_accounts": accounts}
    own |= {"admin_key": ADMIN, "data_dir": str(data_dir)}
    with flarelay(upstream, **(own | options)) as server, connected(server) as client:
        yield client


def translated(http: httpx2.Client, *texts: str) -> httpx2.Response:
    wish = {"text": texts, "source_lang": "EN", "target_lang": "FR"}
    return http.post("/v2/translate", json=wish).raise_for_status()


def booked(http: httpx2.Client) -> dict[str, tuple[int, float]]:
    """By account: calls and neurons."""
    headers = {"authorization": f"Bearer {ADMIN}"}
    told = http.get("/v1/admin/usage", params={"group_by": "account"}, headers=headers).raise_for_status().json()
    return {row["account"]: (row["calls"], row["neurons"]) for row in told["data"]}


def charged(upstream: Cloudflare) -> dict[str, tuple[int, Any]]:
    """The same, as Cloudflare knows it."""
    meters = upstream.emulator.meters
    return {
        name: (calls, pytest.approx(meters.neurons_today(name), rel=1e-3))
        for name, calls in Counter(paid(upstream)).items()
    }


@pytest.mark.parametrize("texts", [SENTENCES, (" ".join(SENTENCES),)], ids=["texts", "sentences"])
def test_the_ledger_has_what_each_account_paid_for_the_units_of_a_translation(
    texts: tuple[str, ...], tmp_path: Path
) -> None:
    with cloudflare(tokens=TOKENS) as upstream, behind(upstream, tmp_path) as http:
        translated(http, *texts)
        assert len(set(paid(upstream))) > 1
        expected = charged(upstream)
        assert booked(http) == expected
        assert translated(http, *texts).headers["x-flarelay-cache"] == "hit"
        again = booked(http)
        assert {name: again[name][1] for name in expected} == {name: neurons for name, (_, neurons) in expected.items()}


def test_the_ledger_has_what_each_account_paid_for_calls_that_fill_up(tmp_path: Path) -> None:
    """A chat model gets many units in a call, each call of another account."""
    long = [f"{sentence} It was day {day}." for day in range(40) for sentence in SENTENCES]
    with (
        cloudflare(tokens=TOKENS) as upstream,
        behind(upstream, tmp_path, translate_model="gpt-4o-mini", translation_pack_ms=1) as http,
    ):
        translated(http, *long)
        assert len(set(paid(upstream))) > 1
        assert booked(http) == charged(upstream)

"""What is wrong with the settings themselves."""

from typing import Any

import pytest

from app.doctor.findings import Outcome
from tests.doctor.api import Api, examined

pytestmark = pytest.mark.anyio

OK, WARNING, FAILED = Outcome.OK, Outcome.WARNING, Outcome.FAILED


@pytest.mark.parametrize(
    ("url", "is_loopback", "outcome"),
    [
        ("https://ai.example.com", False, OK),
        ("https://ai.example.com/flarelay", False, OK),
        ("http://localhost:8000", True, OK),
        ("https://ai.example.com/v1", False, WARNING),
        ("https://user@ai.example.com", False, WARNING),
        ("https://ai.example.com?x=1", False, WARNING),
        ("https://ai.example.com#x", False, WARNING),
        ("http://localhost:8000", False, WARNING),
        ("http://127.0.0.1:8000", False, WARNING),
        ("http://[::1]:8000", False, WARNING),
        ("http://192.168.1.2", False, OK),
    ],
)
async def test_an_address_for_users_that_leads_them_astray_is_told(
    url: str, is_loopback: bool, outcome: Outcome
) -> None:
    found = await examined(Api(), public_base_url=url, is_loopback=is_loopback)
    assert found["PUBLIC_BASE_URL"].outcome == outcome


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ({}, OK),
        ({"public_base_url": "http://localhost:8000"}, OK),
        ({"public_base_url": "https://ai.example.com"}, FAILED),
        ({"is_loopback": False}, FAILED),
        ({"is_loopback": False, "keys": 2}, OK),
        ({"is_loopback": False, "mode": "emulator"}, WARNING),
    ],
)
async def test_a_server_that_is_open_to_all_is_told(options: Any, outcome: Outcome) -> None:
    found = await examined(Api(), **{"keys": 0} | options)
    assert found["API_KEYS"].outcome == outcome

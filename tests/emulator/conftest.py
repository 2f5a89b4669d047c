"""What every test of the emulator may ask for."""

from collections.abc import AsyncIterator

import pytest

from tests.emulator.asking import Asker, asking


@pytest.fixture
async def ask(anyio_backend: str) -> AsyncIterator[Asker]:
    async with asking() as asker:
        yield asker

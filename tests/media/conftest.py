"""What the tests of pictures share."""

from collections.abc import AsyncIterator

import pytest

from tests.media.web import Web, open_web


@pytest.fixture
async def web(anyio_backend: str) -> AsyncIterator[Web]:
    async with open_web() as web:
        yield web

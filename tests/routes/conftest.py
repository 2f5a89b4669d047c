"""The server that both APIs for translation are asked at."""

from collections.abc import Iterator

import pytest

from tests.routes.translating import FakeDesk, auth, translating
from tests.serving import Server


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[FakeDesk, Server]]:
    desk = FakeDesk()
    with translating(desk, auth()) as server:
        yield desk, server


@pytest.fixture
def desk(running: tuple[FakeDesk, Server]) -> FakeDesk:
    """That of the server, as new."""
    running[0].forget()
    return running[0]

"""What the tests of several stores share."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from app.stores.database import Database
from tests.stores.keeping import Clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flarelay.db"


@pytest.fixture
async def database(path: Path) -> AsyncGenerator[Database]:
    database = Database(path, busy_seconds=0)
    await database.open()
    yield database
    await database.aclose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys_path(tmp_path: Path) -> Path:
    """Where the file of keys is looked for."""
    return tmp_path / "data" / "keys.toml"

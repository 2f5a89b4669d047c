"""What the examinations of whole servers share."""

from pathlib import Path

import pytest

from app.doctor.setup import Setup
from tests.doctor.api import API, OURS


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(mode="managed", api_base_url=API, accounts=(OURS,), data_dir=tmp_path, keys=1)

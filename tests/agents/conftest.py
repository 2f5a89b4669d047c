"""Real coding agents, as npm has them, at work against a server on the emulator.

`make agents` installs them and runs these tests; for every other run of pytest this folder is empty.
"""

import os
from pathlib import Path

import pytest

from tests.agents.workshop import Workshop
from tests.serving import Cloudflare, Server

collect_ignore_glob = [] if os.environ.get("AGENTS") else ["test_*.py"]


@pytest.fixture
def workshop(tmp_path: Path, server: Server, upstream: Cloudflare) -> Workshop:
    """A new one, and an upstream that remembers nothing."""
    upstream.emulator.requests.clear()
    return Workshop(tmp_path / "home", tmp_path / "project", upstream.emulator)

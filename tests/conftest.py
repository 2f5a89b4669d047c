"""What every test may ask for."""

from collections.abc import Iterator

import httpx2
import openai
import pytest

from app.settings import Settings
from tests.serving import DEADLINE_SECONDS, KEY, Cloudflare, Server, cloudflare, connected, flarelay

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _nothing_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither the settings nor the proxies of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (*Settings.model_fields, *PROXIES):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        patch.setenv("DATA_DIR", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session")
def upstream() -> Iterator[Cloudflare]:
    """Workers AI, on a socket."""
    with cloudflare() as running:
        yield running


@pytest.fixture(scope="session")
def server(upstream: Cloudflare) -> Iterator[Server]:
    """Flarelay in front of `upstream`, on a socket."""
    with flarelay(upstream) as running:
        yield running


@pytest.fixture(scope="session")
def http(server: Server) -> Iterator[httpx2.Client]:
    """A client of `server` that hides nothing."""
    with connected(server) as client:
        yield client


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[openai.OpenAI]:
    """OpenAI's own client, as its users set it up."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0, timeout=DEADLINE_SECONDS) as client:
        yield client

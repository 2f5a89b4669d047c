"""What a server has loaded once it has started, and what only when it is needed: it saves memory and time."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.serving import DEADLINE_SECONDS

ROOT = Path(__file__).parent.parent

HEAVY = (
    "PIL",
    "app.doctor",
    "app.emulator",
    "app.translation.desk",
    "app.translation.masks",
    "av",
    "fastapi",
    "fasttext",
    "gcld3",
    "jsonschema_rs",
    "numpy",
    "obstore",
    "opencc",
    "opentelemetry",
    "prometheus_client",
    "pydantic.v1",
    "sse_starlette",
    "tiktoken_ext",
)

SERVER = """
import sys
import anyio, httpx2, orjson
import app.__main__
from app.main import create_app
from app.settings import Settings

ANSWER = {"response": "Hello.", "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}

async def main(data_dir, requests):
    account = {"cloudflare_account_id": "a", "cloudflare_api_token": "t", "api_keys": "key", "data_dir": data_dir}
    upstream = httpx2.MockTransport(lambda _: httpx2.Response(200, json={"success": True, "result": ANSWER}))
    application = create_app(Settings(_env_file=None, **account), transport=upstream)
    transport, headers = httpx2.ASGITransport(application), {"authorization": "Bearer key"}
    async with (
        application.router.lifespan_context(application),
        httpx2.AsyncClient(transport=transport, base_url="http://server", headers=headers) as client,
    ):
        for method, path, body in requests:
            response = await client.request(method, path, json=body)
            assert response.status_code == 200, response.text

anyio.run(main, sys.argv[1], orjson.loads(sys.argv[2]))
print(*sys.modules)
"""

MESSAGES = [{"role": "user", "content": "Hi"}]
CHAT = ("POST", "/v1/chat/completions", {"model": "gpt-4o-mini", "messages": MESSAGES})


def loaded(folder: Path, *requests: tuple[str, str, object]) -> set[str]:
    """Those of HEAVY that a server has loaded once it has answered these requests."""
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-c", SERVER, str(folder), orjson.dumps(requests).decode()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(HEAVY) & set(done.stdout.split())


def test_what_is_listed_as_heavy_exists() -> None:
    """Or the next test would look for nothing."""
    modules = [name for name in HEAVY if name != "numpy"]  # which Pillow and PyAV would only load if it were there
    code = f"import importlib\nfor name in {modules}: importlib.import_module(name)"
    arguments = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, check=False)  # noqa: S603 - our own
    assert done.returncode == 0, done.stderr


def test_a_server_that_runs_models_has_loaded_nothing_heavy(tmp_path: Path) -> None:
    everyday = [("GET", path, None) for path in ("/", "/health", "/v1/models", "/v1/models/gpt-4o-mini")]
    stream = ("POST", CHAT[1], {"model": "gpt-4o-mini", "messages": MESSAGES, "tools": []})
    assert loaded(tmp_path, *everyday, CHAT, stream) == set()


@pytest.mark.parametrize(
    ("request_", "modules"),
    [
        (("GET", "/openapi.json", None), {"fastapi", "opentelemetry", "pydantic.v1"}),
        (("GET", "/metrics", None), {"prometheus_client"}),
        (("GET", "/v2/usage", None), {"app.translation.desk", "app.translation.masks"}),
    ],
)
def test_what_is_heavy_comes_with_who_needs_it(
    tmp_path: Path, request_: tuple[str, str, object], modules: set[str]
) -> None:
    assert loaded(tmp_path, request_) == modules

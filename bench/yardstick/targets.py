"""What is measured: Flarelay, nginx as the physical limit, the upstream itself, and other gateways if they are there.

Peers are never a dependency of Flarelay's: whoever wants the comparison installs them apart, and tells where they are.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from bench.yardstick.load import HOST, Door, Kind, answers
from bench.yardstick.processes import Cores, cpu_seconds, free_port, megabytes, start, stop

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120
KEY = "sk-bench"


@dataclass(frozen=True)
class Recipe:
    """How a target is started. `env` replaces the environment, of which only the path remains."""

    command: Sequence[str]
    door: Door
    env: Mapping[str, str] = field(default_factory=dict)
    kinds: Sequence[Kind] = ("json", "burst", "paced")
    """What it is asked in the scenarios, tried once before."""


Kitchen = Callable[[int, Path], Recipe | None]
"""The upstream's port, a folder of its own -> the recipe, or None where the target can't be had."""


class Target:
    """A server that runs."""

    def __init__(self, name: str, recipe: Recipe, folder: Path, cores: Cores) -> None:
        """Returns once it has answered a request; SystemExit if it does not."""
        self.name, self.door = name, recipe.door
        self._log = folder / "log"
        env = {"PATH": os.environ["PATH"], "HOME": str(folder), **recipe.env}
        began = time.monotonic()
        self._process = start(recipe.command, cores=cores, log=self._log, env=env, folder=folder)
        try:
            while not answers(self.door, "json"):
                self._check(time.monotonic() - began)
                time.sleep(0.01)
            self.start_seconds = time.monotonic() - began
            for kind in recipe.kinds:
                if not answers(self.door, kind):
                    self._complain(f"{name} does not answer {kind!r} as it should")
        except BaseException:
            self.stop()
            raise

    def _check(self, waited_seconds: float) -> None:
        if self._process.poll() is not None:
            self._complain(f"{self.name} has ended")
        if waited_seconds > PATIENCE_SECONDS:
            self._complain(f"{self.name} does not answer")

    def _complain(self, fault: str) -> None:
        raise SystemExit(f"{fault}. It said last:\n{self._log.read_text(errors='replace')[-2000:]}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def megabytes(self) -> float:
        return megabytes(self.pid)

    def stop(self) -> None:
        stop(self._process)


def flarelay(settings: Mapping[str, str], workers: int = 1) -> Kitchen:
    """As it comes: metrics, log and ledger on. Only the day's budget is off, which would end the run."""

    def recipe(upstream: int, folder: Path) -> Recipe:
        port = free_port()
        env = {
            "PYTHONPATH": str(ROOT),
            "HOST": HOST,
            "PORT": str(port),
            "WORKERS": str(workers),
            "DATA_DIR": str(folder / "data"),
            "API_KEYS": KEY,
            "NEURON_BUDGET": "0",
            "CLOUDFLARE_ACCOUNT_ID": "bench",
            "CLOUDFLARE_API_TOKEN": "bench",
            "CLOUDFLARE_API_BASE_URL": f"http://{HOST}:{upstream}/client/v4",
        }
        return Recipe([sys.executable, "-m", "app"], Door(port, headers=bearer()), env | dict(settings))

    return recipe


NGINX = """
worker_processes 1; daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream canned {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://canned; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


def nginx(upstream: int, folder: Path) -> Recipe | None:
    """A relay that translates nothing."""
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    if program is None:
        return None
    port, configuration = free_port(), folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, upstream=upstream, port=port))
    return Recipe([program, "-p", str(folder), "-c", str(configuration)], Door(port, headers=bearer()))


def litellm(program: str | None) -> Kitchen:
    """`program`: its command, such as `.../bin/litellm`."""

    def recipe(upstream: int, folder: Path) -> Recipe | None:
        if program is None:
            return None
        base = f"http://{HOST}:{upstream}/v1"
        models = [
            {"model_name": kind, "litellm_params": {"model": f"openai/{kind}", "api_base": base, "api_key": "sk"}}
            for kind in ("json", "burst", "paced")
        ]
        configuration = folder / "config.yaml"  # JSON is YAML
        settings = {"telemetry": False, "drop_params": True, "num_retries": 0}
        wanted = {"model_list": models, "litellm_settings": settings, "general_settings": {"master_key": KEY}}
        configuration.write_bytes(orjson.dumps(wanted))
        port = free_port()
        options = ["--host", HOST, "--port", str(port), "--num_workers", "1", "--config", str(configuration)]
        env = {
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "NO_DOCS": "True",
            "DISABLE_ADMIN_UI": "True",
        }
        return Recipe([program, *options], Door(port, model="{kind}", headers=bearer()), env, kinds=("json",))

    return recipe


def portkey(folder_of_package: str | None, provider: str, base_path: str) -> Kitchen:
    """`folder_of_package`: of the npm package, such as `.../node_modules/@portkey-ai/gateway`."""

    def recipe(upstream: int, folder: Path) -> Recipe | None:  # noqa: ARG001 - a Kitchen
        if folder_of_package is None:
            return None
        port = free_port()
        program = Path(folder_of_package).resolve() / "build" / "start-server.js"
        headers = {
            "x-portkey-provider": provider,
            "x-portkey-custom-host": f"http://{HOST}:{upstream}{base_path}",
            "x-portkey-workers-ai-account-id": "bench",
        }
        door = Door(port, model="{kind}", headers=bearer() | headers)
        command = ["node", str(program), "--headless", f"--port={port}"]
        return Recipe(command, door, {"PORT": str(port), "NODE_ENV": "production"}, kinds=("json", "burst"))

    return recipe


def bearer(key: str = KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def commit() -> str:
    """Of the checkout; with a plus sign where the program differs from it."""

    def git(*arguments: str) -> str:
        ran = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603, S607 - ours
        return ran.stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if git("status", "--porcelain", "app") else "")

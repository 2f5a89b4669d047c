"""`flarelay`, or `python -m app`: serve."""

import os
import signal
import sys
from types import FrameType

import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError

from app import __version__
from app.catalog import Catalog
from app.settings import Settings

NOTICES = {
    "managed": "calls run on your Cloudflare account {account}",
    "pass-through": "callers' keys are their own Cloudflare API tokens for account {account}",
    "emulator": "NO CLOUDFLARE ACCOUNT IS SET: answers come from the built-in emulator and mean nothing. "
    "Set CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN for real ones",
}


def main() -> None:
    """Exits with 2 and one line per fault if the settings can't be used, with 0 after SIGTERM or SIGINT."""
    os.umask(0o077)  # what the server keeps is nobody else's business
    try:
        settings = Settings()
        Catalog.load(settings.model_aliases)
    except ValueError as failure:
        print("\n".join(_faults(failure)), file=sys.stderr)  # noqa: T201
        sys.exit(2)
    signal.signal(signal.SIGTERM, _end)
    notice = NOTICES[settings.mode].format(account=settings.cloudflare_account_id)
    print(f"Flarelay {__version__} on http://{_host(settings.host)}:{settings.port}/v1 - {notice}.", flush=True)  # noqa: T201
    uvicorn.run(
        "app.main:from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,  # longer than the proxies in front, so that they close first
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )


def _faults(failure: ValueError) -> list[str]:
    if isinstance(failure, SettingsError):
        return [f"{failure}: it has to be JSON."]
    if not isinstance(failure, ValidationError):
        return [str(failure)]
    faults = []
    for fault in failure.errors(include_url=False, include_input=False):
        name = "_".join(str(step) for step in fault["loc"]).upper()
        faults.append(f"{name}: {fault['msg']}" if name else fault["msg"].removeprefix("Value error, "))
    return faults


def _end(_signal: int, _frame: FrameType | None) -> None:
    """uvicorn repeats the signal once it has shut down, which would make an orderly end look like a crash."""
    sys.exit(0)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":  # pragma: no cover - a process of its own; its tests talk to it over a socket
    main()

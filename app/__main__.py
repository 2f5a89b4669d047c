"""`flarelay`, or `python -m app`: serve."""

import os
import sys

import uvicorn
from pydantic import ValidationError

from app import __version__
from app.settings import Settings

NOTICES = {
    "managed": "calls run on your Cloudflare account {account}",
    "pass-through": "callers' keys are their own Cloudflare API tokens for account {account}",
    "emulator": "NO CLOUDFLARE ACCOUNT IS SET: answers come from the built-in emulator and mean nothing. "
    "Set CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN for real ones",
}


def main() -> None:
    """Exits with 2 and one line per fault if the settings can't be used."""
    try:
        settings = Settings()
    except ValidationError as failure:
        sys.exit(_explain(failure))
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


def _explain(failure: ValidationError) -> int:
    for fault in failure.errors(include_url=False, include_input=False):
        name = "_".join(str(step) for step in fault["loc"]).upper()
        print(f"{name}: {fault['msg']}" if name else fault["msg"].removeprefix("Value error, "), file=sys.stderr)  # noqa: T201
    return 2


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    os.umask(0o077)  # what the server keeps is nobody else's business
    main()

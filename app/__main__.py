"""`flarelay`, or `python -m app`: serve; with arguments, one of the commands."""

import gc
import os
import signal
import sys
from types import FrameType

import uvicorn

from app import __version__
from app.auth import our_accounts
from app.commands import faults, read, run
from app.server.protocol import OPTIONS
from app.settings import Settings

APP = "app.main:from_environment"
NOTICES = {
    "managed": "calls run on your Cloudflare account {account}",
    "pass-through": "callers' keys are their own Cloudflare API tokens for account {account}",
    "emulator": "NO CLOUDFLARE ACCOUNT IS SET: answers come from the built-in emulator and mean nothing. "
    "Set CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN for real ones",
}


def command_line() -> None:
    """What `flarelay` runs."""
    arguments = sys.argv[1:]
    if not arguments:
        main()
    else:
        os.umask(0o077)  # as of the server: both write to the same folder
        sys.exit(run(arguments))


def main() -> None:
    """Exits with 2 and one line per fault if the settings can't be used, with 0 after SIGTERM or SIGINT."""
    os.umask(0o077)  # what the server keeps is nobody else's business
    try:
        settings = Settings()
        read(settings)
    except ValueError as failure:
        print("\n".join(faults(failure)), file=sys.stderr)  # noqa: T201
        sys.exit(2)
    signal.signal(signal.SIGTERM, _end)
    notice = NOTICES[settings.mode].format(account=_account(settings))
    print(f"Flarelay {__version__} on http://{_host(settings.host)}:{settings.port}/v1 - {notice}.", flush=True)  # noqa: T201
    options = OPTIONS | {"factory": True, "host": settings.host, "port": settings.port}
    options["timeout_graceful_shutdown"] = settings.shutdown_seconds
    if settings.workers == 1:
        gc.disable()  # while modules are loaded, which leaves little garbage; from_environment turns it on
        uvicorn.run(APP, **options)
    else:
        from app.server.listening import serve_together  # which loads what one alone does not need

        serve_together(APP, settings.workers, options)


def _account(settings: Settings) -> str:
    """Of the first account, and that there are more."""
    first, *others = [account.id for account in our_accounts(settings)] or [settings.cloudflare_account_id or ""]
    return f"{first} and {len(others)} more" if others else first


def _end(_signal: int, _frame: FrameType | None) -> None:
    """uvicorn repeats the signal once it has shut down, which would make an orderly end look like a crash."""
    sys.exit(0)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":  # pragma: no cover - a process of its own; its tests talk to it over a socket
    command_line()

"""What `flarelay` does beside serving: `flarelay doctor`, and `flarelay keys` for the keys of callers."""

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from app import __version__
from app.calls import Limits
from app.catalog import Catalog
from app.settings import Settings
from app.stores.key_entries import KeysError, parse_limits
from app.stores.key_file import add_key, list_keys, remove_key, set_limits
from app.stores.keys import Keys

if TYPE_CHECKING:
    from app.doctor.setup import Setup  # which loads what serving and keys don't need here

LIMITS_HELP = "`rpm=60`, `concurrent=4`, `neurons=5000` (a day), `models=gpt-*|@cf/meta/*`"


def run(arguments: Sequence[str]) -> int:
    """Does what the command line says, and returns the exit code. Raises SystemExit for one that says nothing known."""
    wish = _parser().parse_args(arguments)
    code: int = wish.run(wish)
    return code


def _parser() -> ArgumentParser:
    parser = ArgumentParser("flarelay", description="Without a command: serve.")
    parser.add_argument("--version", action="version", version=f"Flarelay {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    doctor = commands.add_parser("doctor", help="look for what is wrong with the settings, the accounts, the machine")
    doctor.set_defaults(run=lambda _: examine())
    keys = commands.add_parser("keys", help="the keys of callers in DATA_DIR, which count at once")
    actions = keys.add_subparsers(required=True, metavar="action")
    add = actions.add_parser("add", help="make a key and print it, this once")
    remove = actions.add_parser("remove", help="end a key")
    limit = actions.add_parser("limit", help="give a key other limits, in place of those it had")
    for action in (add, remove, limit):
        action.add_argument("name", help="stands for the key in logs and reports")
    for action in (add, limit):
        action.add_argument("limits", nargs="*", metavar="limit", help=LIMITS_HELP)
    listing = actions.add_parser("list", help="the names and limits of the keys")
    for action, act in ((add, _add), (remove, _remove), (limit, _limit), (listing, _list)):
        action.set_defaults(run=_on_keys, act=act)
    return parser


class Place(BaseSettings):
    """The one setting that `flarelay keys` needs: keys may be just what the others lack."""

    model_config = Settings.model_config

    data_dir: str = Settings.model_fields["data_dir"].default


def keys_path(data_dir: str) -> Path:
    return Path(data_dir) / "keys.toml"


def _on_keys(wish: Namespace) -> int:
    try:
        wish.act(keys_path(Place().data_dir), wish)
    except KeysError as failure:
        _tell(str(failure))
        return 1
    return 0


def _add(path: Path, wish: Namespace) -> None:
    key = add_key(path, wish.name, parse_limits(wish.limits))
    _tell(f"This is the key of {wish.name}. It can't be shown again:")
    _say(key)


def _remove(path: Path, wish: Namespace) -> None:
    remove_key(path, wish.name)
    _tell(f"The key of {wish.name} is no longer valid.")


def _limit(path: Path, wish: Namespace) -> None:
    set_limits(path, wish.name, parse_limits(wish.limits))
    _tell(f"The limits of {wish.name} have changed.")


def _list(path: Path, _wish: Namespace) -> None:
    entries = list_keys(path)
    if not entries:
        _tell(f"There are no keys in {path}.")
    for entry in entries:
        _say(f"{entry.name}\t{shown(entry.limits)}")


def shown(limits: Limits) -> str:
    """As `flarelay keys add` takes them."""
    values = {
        "rpm": limits.requests_per_minute,
        "concurrent": limits.concurrent_requests,
        "neurons": limits.neurons_per_day,
        "models": "|".join(limits.models) or None,
    }
    return " ".join(f"{name}={value}" for name, value in values.items() if value is not None) or "no limits"


def examine() -> int:
    """Prints a line per check. 1 if one has failed."""
    from app.doctor.examination import Doctor
    from app.doctor.findings import Finding, Outcome, is_well
    from app.upstream.transport import make_transport

    try:
        setup = setup_of(Settings())
    except ValueError as failure:
        findings = [Finding("settings", Outcome.FAILED, fault) for fault in faults(failure)]
        findings.append(Finding("everything else", Outcome.UNKNOWN, "the settings come first."))
    else:
        findings = [Finding("settings", Outcome.OK, "they can be read.")]
        findings += asyncio.run(Doctor(make_transport()).examine(setup))
    for finding in findings:
        _say(finding.line())
    return 0 if is_well(findings) else 1


def read(settings: Settings) -> tuple[Catalog, Keys]:
    """What the server reads as it starts. Raises ValueError for names of models or keys that can't be used."""
    from app.upstream.providers import is_provider_model

    has_gateway = settings.ai_gateway_id is not None
    catalog = Catalog.load(settings.model_aliases, is_foreign=is_provider_model, has_gateway=has_gateway)
    catalog.check("MODEL_FALLBACKS", chain.from_iterable(settings.fallbacks.values()))
    return catalog, Keys([key.get_secret_value() for key in settings.api_keys], keys_path(settings.data_dir))


def setup_of(settings: Settings) -> "Setup":
    """Raises ValueError as `read` does."""
    from app.auth import our_accounts
    from app.doctor.setup import Setup
    from app.upstream.gateway import Gateway

    gateway = Gateway.from_settings(settings)
    catalog, keys = read(settings)
    pictures = 0 if settings.pictures_url else settings.pictures_max_bytes
    return Setup(
        mode=settings.mode,
        api_base_url=settings.cloudflare_api_base_url,
        accounts=our_accounts(settings),
        gateway=gateway,
        licenses={
            model.id: model.quirks.license_prompt
            for model in catalog
            if model.is_listed and model.quirks.license_prompt
        },
        data_dir=Path(settings.data_dir),
        wanted_bytes=pictures + settings.translation_cache_max_bytes,
        host=settings.host,
        is_loopback=settings.is_loopback,
        port=settings.port,
        public_base_url=settings.public_base_url,
        keys=len(keys.entries),
    )


def faults(failure: ValueError) -> list[str]:
    """What is wrong with the settings, a line for each, without their values."""
    if isinstance(failure, SettingsError):
        return [f"{failure}: it has to be JSON."]
    if not isinstance(failure, ValidationError):
        return [str(failure)]
    found = []
    for fault in failure.errors(include_url=False, include_input=False):
        name = "_".join(str(step) for step in fault["loc"]).upper()
        found.append(f"{name}: {fault['msg']}" if name else fault["msg"].removeprefix("Value error, "))
    return found


def _say(text: str) -> None:
    print(text)  # noqa: T201 - what the command is for


def _tell(text: str) -> None:
    """Beside the output proper, which a script may want to read."""
    print(text, file=sys.stderr)  # noqa: T201

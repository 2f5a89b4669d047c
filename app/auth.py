"""Auth: the key that a request shows -> the caller and the account that pays, or a 401.

Keys in a URL open the routes that translate and no others: URLs end up in histories and logs.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from app.calls import UNLIMITED, Account, Caller
from app.errors import AuthenticationError
from app.settings import Mode, Settings
from app.stores.key_entries import KeyEntry
from app.stores.keys import Keys
from app.upstream.gateway_options import CACHE_KEY, options_of

Headers = Sequence[tuple[bytes, bytes]]

OWN_ACCOUNT = re.compile(r"(?P<id>[0-9a-fA-F]{32}):(?P<token>[\x21-\x7e]{10,})")
"""A key that names a Cloudflare account and a token of it."""

API_KEY_ADVICE = "Send one of the server's API_KEYS as `Authorization: Bearer KEY`."
TRANSLATOR_ADVICE = (
    "Send one of the server's TRANSLATE_TOKENS or API_KEYS as `Authorization: Bearer KEY` or in the URL: `?token=KEY`."
)
CLOUDFLARE_ADVICE = "Send a Cloudflare API token as `Authorization: Bearer TOKEN`."


class Auth:
    """The three ways in: see `Settings.mode`."""

    def __init__(
        self,
        mode: Mode,
        keys: Keys | Iterable[str],
        account_id: str | None,
        token: str | None,
        base_url: str,
        emulator_url: str,
        translate_tokens: Iterable[str] = (),
        *,
        others: Sequence[Account] = (),
        has_gateway: bool = False,
    ) -> None:
        """`others`: further accounts of ours. `has_gateway`: callers may set options of AI Gateway."""
        self._mode = mode
        self._entries = keys if isinstance(keys, Keys) else Keys(keys)
        self._translate_digests = [_digest(token) for token in translate_tokens]
        self._account_id = account_id or ""
        self._base_url = base_url
        self._ours = Account(account_id or "", token or "", base_url)
        self._others = tuple(others)
        self._emulator = Account("0" * 32, "emulator", emulator_url)
        self.has_gateway = has_gateway

    @classmethod
    def from_settings(cls, settings: Settings, emulator_url: str, keys: Keys | None = None) -> "Auth":
        accounts = our_accounts(settings)
        first = accounts[0] if accounts else None
        return cls(
            settings.mode,
            keys or Keys(key.get_secret_value() for key in settings.api_keys),
            first.id if first else settings.cloudflare_account_id,
            first.token if first else None,
            settings.cloudflare_api_base_url,
            emulator_url,
            [token.get_secret_value() for token in settings.translate_tokens],
            others=accounts[1:],
            has_gateway=settings.ai_gateway_id is not None,
        )

    def identify(self, headers: Headers) -> Caller:
        """Raises AuthenticationError if a key is needed and none, or a wrong one, is shown."""
        return self._identify(headers, [], API_KEY_ADVICE)

    def identify_translator(self, headers: Headers, tokens: Sequence[str]) -> Caller:
        """The same for the routes that translate, which TRANSLATE_TOKENS open too.

        `tokens`: what was found in the URL. It counts where no header has a key, or another one than it should: clients
        send `Bearer` with nothing behind it. Raises AuthenticationError.
        """
        tokens = list(filter(None, map(str.strip, tokens)))
        caller = self._identify(headers, tokens, TRANSLATOR_ADVICE, self._translate_digests)
        if CACHE_KEY in caller.gateway:  # many texts under one key would all be answered as the first
            options = {name: value for name, value in caller.gateway.items() if name != CACHE_KEY}
            caller = replace(caller, gateway=options)
        return caller

    def with_options(self, caller: Caller, headers: Headers, body_options: Mapping[str, Any]) -> Caller:
        """The caller, who asks of AI Gateway in the body of the request too. Raises BadRequestError."""
        return replace(caller, gateway=options_of(headers, body_options))

    def _identify(self, headers: Headers, tokens: Sequence[str], advice: str, digests: Sequence[bytes] = ()) -> Caller:
        gateway = options_of(headers) if self.has_gateway else {}
        keys, affinity = _shown(headers)
        keys += tokens
        if self._mode == "pass-through":
            return self._pass_through(keys, affinity, gateway)
        self._entries.refresh()  # the first key may just have been made
        if self._entries.is_required or digests:
            key, entry = self._known(keys, digests)
            if key is None:
                raise _refusal(keys, advice)
        else:
            key, entry = keys[0] if keys else "", None
        own = OWN_ACCOUNT.fullmatch(key) if self._mode == "emulator" else None
        name, limits = (entry.name, entry.limits) if entry else (_name(key), UNLIMITED)
        if own:
            account = Account(own["id"], own["token"], self._base_url, is_ours=False)
            return Caller(name, account, limits=limits, affinity=affinity, gateway=gateway)
        if self._mode == "managed":
            return Caller(name, self._ours, self._others, limits, affinity, gateway)
        return Caller(name, self._emulator, limits=limits, affinity=affinity, gateway=gateway)

    def _known(self, keys: Sequence[str], digests: Sequence[bytes]) -> tuple[str | None, KeyEntry | None]:
        """The first key that opens the door, and what is known of it."""
        for key in keys:
            entry = self._entries.find(key)
            if entry or _is_known(key, digests):
                return key, entry
        return None, None

    def _pass_through(self, keys: Sequence[str], affinity: str | None, gateway: Mapping[str, str]) -> Caller:
        if not keys:
            raise _refusal(keys, CLOUDFLARE_ADVICE)
        key = keys[0]
        own = OWN_ACCOUNT.fullmatch(key)
        account_id, token = (own["id"], own["token"]) if own else (self._account_id, key)
        return Caller(
            _name(key), Account(account_id, token, self._base_url, is_ours=False), affinity=affinity, gateway=gateway
        )


def our_accounts(settings: Settings) -> tuple[Account, ...]:
    """The accounts that the server pays with; none where callers bring theirs, or the emulator answers."""
    pairs = [(each.partition(":")[0], each.partition(":")[2]) for each in _texts(settings.cloudflare_accounts)]
    token = settings.cloudflare_api_token
    if settings.cloudflare_account_id and token:
        pairs.insert(0, (settings.cloudflare_account_id, token.get_secret_value()))
    return tuple(
        Account(account_id, token, settings.cloudflare_api_base_url) for account_id, token in dict(pairs).items()
    )


def _texts(secrets: Iterable[SecretStr]) -> list[str]:
    return [each.get_secret_value() for each in secrets]


def _is_known(key: str, digests: Sequence[bytes]) -> bool:
    digest = _digest(key)
    known = [hmac.compare_digest(digest, each) for each in digests]  # all of them: no early end to time
    return any(known)


def _shown(headers: Headers) -> tuple[list[str], str | None]:
    """Every key that a client may have put somewhere, and what it says that the request belongs with.

    Many send the same key twice. Keys may be any UTF-8.
    """
    keys: list[str] = []
    affinity = None
    for name, value in headers:
        if name == b"authorization":
            if value[:7] == b"Bearer ":  # as most have it
                key = value[7:].decode("utf-8", "replace")
            else:
                scheme, _, rest = value.decode("utf-8", "replace").strip().partition(" ")
                is_scheme = scheme.lower() in ("bearer", "deepl-auth-key")
                key = rest if is_scheme else scheme if not rest else ""
        elif name in (b"x-api-key", b"api-key"):
            key = value.decode("utf-8", "replace")
        elif name == b"x-session-affinity":
            affinity = affinity or value.decode("latin-1")
            continue
        else:
            continue
        if key := key.strip():
            keys.append(key)
    return keys, affinity


def _refusal(keys: Sequence[str], advice: str) -> AuthenticationError:
    problem = "The API key is not valid." if keys else "There is no API key in the request."
    return AuthenticationError(f"{problem} {advice}")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:8] if key else "anonymous"

"""Auth: the key that a request shows -> the caller and the account that pays, or a 401.

Keys in a URL open the routes that translate and no others: URLs end up in histories and logs.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence

from app.calls import Account, Caller
from app.errors import AuthenticationError
from app.settings import Mode, Settings

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
        keys: Iterable[str],
        account_id: str | None,
        token: str | None,
        base_url: str,
        emulator_url: str,
        translate_tokens: Iterable[str] = (),
    ) -> None:
        self._mode = mode
        self._digests = [_digest(key) for key in keys]
        self._translate_digests = [*self._digests, *map(_digest, translate_tokens)]
        self._account_id = account_id or ""
        self._base_url = base_url
        self._ours = Account(account_id or "", token or "", base_url)
        self._emulator = Account("0" * 32, "emulator", emulator_url)

    @classmethod
    def from_settings(cls, settings: Settings, emulator_url: str) -> "Auth":
        token = settings.cloudflare_api_token
        return cls(
            settings.mode,
            [key.get_secret_value() for key in settings.api_keys],
            settings.cloudflare_account_id,
            token.get_secret_value() if token else None,
            settings.cloudflare_api_base_url,
            emulator_url,
            [token.get_secret_value() for token in settings.translate_tokens],
        )

    def identify(self, headers: Sequence[tuple[bytes, bytes]]) -> Caller:
        """Raises AuthenticationError if a key is needed and none, or a wrong one, is shown."""
        return self._identify(list(_keys(headers)), self._digests, API_KEY_ADVICE)

    def identify_translator(self, headers: Sequence[tuple[bytes, bytes]], tokens: Sequence[str]) -> Caller:
        """The same for the routes that translate, which TRANSLATE_TOKENS open too.

        `tokens`: what was found in the URL. It counts where no header has a key, or another one than it should: clients
        send `Bearer` with nothing behind it. Raises AuthenticationError.
        """
        keys = [*_keys(headers), *filter(None, map(str.strip, tokens))]
        return self._identify(keys, self._translate_digests, TRANSLATOR_ADVICE)

    def _identify(self, keys: Sequence[str], digests: Sequence[bytes], advice: str) -> Caller:
        if self._mode == "pass-through":
            return self._pass_through(keys)
        if digests:
            key = next((key for key in keys if _is_known(key, digests)), None)
            if key is None:
                raise _refusal(keys, advice)
        else:
            key = next(iter(keys), "")
        own = OWN_ACCOUNT.fullmatch(key) if self._mode == "emulator" else None
        if own:
            return Caller(_name(key), Account(own["id"], own["token"], self._base_url, is_ours=False))
        return Caller(_name(key), self._ours if self._mode == "managed" else self._emulator)

    def _pass_through(self, keys: Sequence[str]) -> Caller:
        if not keys:
            raise _refusal(keys, CLOUDFLARE_ADVICE)
        key = keys[0]
        own = OWN_ACCOUNT.fullmatch(key)
        account_id, token = (own["id"], own["token"]) if own else (self._account_id, key)
        return Caller(_name(key), Account(account_id, token, self._base_url, is_ours=False))


def _is_known(key: str, digests: Sequence[bytes]) -> bool:
    digest = _digest(key)
    known = [hmac.compare_digest(digest, each) for each in digests]  # all of them: no early end to time
    return any(known)


def _keys(headers: Sequence[tuple[bytes, bytes]]) -> Iterable[str]:
    """Every key that a client may have put somewhere; many send the same one twice. Keys may be any UTF-8."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, rest = value.decode("utf-8", "replace").strip().partition(" ")
            is_scheme = scheme.lower() in ("bearer", "deepl-auth-key")
            key = rest if is_scheme else scheme if not rest else ""
        elif name in (b"x-api-key", b"api-key"):
            key = value.decode("utf-8", "replace")
        else:
            continue
        if key := key.strip():
            yield key


def _refusal(keys: Sequence[str], advice: str) -> AuthenticationError:
    problem = "The API key is not valid." if keys else "There is no API key in the request."
    return AuthenticationError(f"{problem} {advice}")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:8] if key else "anonymous"

import pytest

from app.auth import Auth
from app.calls import Account, Caller
from app.errors import AuthenticationError
from app.settings import Mode, Settings

API = "https://api.example/client/v4"
EMULATOR = "http://emulator.invalid/client/v4"
OWN_ID = "0123456789abcdef0123456789abcdef"

MANAGED = {"cloudflare_account_id": "ours", "cloudflare_api_token": "our-token", "cloudflare_api_base_url": API}
PASS_THROUGH = {"cloudflare_account_id": "ours", "cloudflare_api_base_url": API}
BUILT_IN = {"cloudflare_api_base_url": API}

OURS = Account("ours", "our-token", API)


def identified(settings: dict[str, str], *headers: tuple[bytes, bytes]) -> Caller:
    return Auth.from_settings(Settings(_env_file=None, **settings), EMULATOR).identify(headers)  # type: ignore[arg-type]


def bearer(key: str) -> tuple[bytes, bytes]:
    return b"authorization", b"Bearer " + key.encode()


@pytest.mark.parametrize("key", ["first", "second", "third key"])
def test_a_known_key_runs_on_our_account(key: str) -> None:
    assert identified({**MANAGED, "api_keys": "first, second,third key"}, bearer(key)).account == OURS


@pytest.mark.parametrize("key", ["firs", "first2", "FIRST", "", "first,second", "our-token"])
def test_an_unknown_key_is_refused(key: str) -> None:
    with pytest.raises(AuthenticationError, match="API_KEYS") as raised:
        identified({**MANAGED, "api_keys": "first,second"}, bearer(key))
    assert raised.value.status == 401
    assert not key or key not in raised.value.message.replace("API_KEYS", "").split()


def test_a_refusal_tells_a_missing_key_from_a_wrong_one() -> None:
    settings = {**MANAGED, "api_keys": "first"}
    with pytest.raises(AuthenticationError, match="no API key"):
        identified(settings)
    with pytest.raises(AuthenticationError, match="not valid"):
        identified(settings, bearer("second"))


def test_any_of_several_keys_will_do() -> None:
    headers = [(b"api-key", b"dummy"), (b"cookie", b"a=b"), bearer("sk-dummy"), (b"x-api-key", b"first")]
    assert identified({**MANAGED, "api_keys": "first"}, *headers).account == OURS


def test_our_account_needs_no_key_where_none_is_set() -> None:
    assert identified(MANAGED) == Caller("anonymous", OURS)
    assert identified(MANAGED, bearer("anything")).account == OURS


def test_a_caller_is_named_by_a_fingerprint() -> None:
    names = {identified(MANAGED, bearer(key)).name for key in ("one", "two", "one")}
    assert len(names) == 2
    assert all(len(name) == 8 and name not in ("one", "two") for name in names)


@pytest.mark.parametrize(
    ("key", "account"),
    [
        ("their-token", Account("ours", "their-token", API, is_ours=False)),
        (f"{OWN_ID}:their-token", Account(OWN_ID, "their-token", API, is_ours=False)),
        (f"{OWN_ID[1:]}:their-token", Account("ours", f"{OWN_ID[1:]}:their-token", API, is_ours=False)),
        (f"{OWN_ID}:short", Account("ours", f"{OWN_ID}:short", API, is_ours=False)),
    ],
)
def test_a_key_may_be_a_cloudflare_token(key: str, account: Account) -> None:
    assert identified(PASS_THROUGH, bearer(key)).account == account


def test_without_an_account_of_ours_a_token_is_needed() -> None:
    with pytest.raises(AuthenticationError, match="Cloudflare API token"):
        identified(PASS_THROUGH, (b"authorization", b"Bearer"))


def test_without_any_account_the_emulator_answers() -> None:
    for headers in ([], [bearer("anything")], [bearer(f"{OWN_ID}:short")]):
        account = identified(BUILT_IN, *headers).account
        assert (account.base_url, account.is_ours) == (EMULATOR, True)


def test_who_brings_an_account_gets_no_emulator() -> None:
    account = identified(BUILT_IN, (b"x-api-key", f"{OWN_ID}:their-token".encode())).account
    assert account == Account(OWN_ID, "their-token", API, is_ours=False)


def test_the_emulator_can_have_keys_too() -> None:
    with pytest.raises(AuthenticationError):
        identified({**BUILT_IN, "api_keys": "first"}, bearer(f"{OWN_ID}:their-token"))
    assert identified({**BUILT_IN, "api_keys": "first"}, bearer("first")).account.base_url == EMULATOR


TRANSLATE_TOKEN = "for-translations-only"


def translator(
    mode: Mode = "managed",
    *headers: tuple[bytes, bytes],
    keys: tuple[str, ...] = (),
    tokens: tuple[str, ...] = (),
    shown: tuple[str, ...] = (),
) -> Caller:
    """Who translates with `shown` in the URL, on a server that has `keys` and `tokens`."""
    auth = Auth(mode, keys, "ours", "our-token", API, EMULATOR, tokens)
    return auth.identify_translator(headers, shown)


@pytest.mark.parametrize("key", ["first", TRANSLATE_TOKEN])
@pytest.mark.parametrize("mode", ["managed", "emulator"])
def test_keys_and_translate_tokens_open_translations_from_a_header_or_the_url(mode: Mode, key: str) -> None:
    server = {"keys": ("first", "second"), "tokens": ("another", TRANSLATE_TOKEN)}
    callers = [
        translator(mode, bearer(key), **server),
        translator(mode, (b"authorization", f"DeepL-Auth-Key {key}".encode()), **server),
        translator(mode, shown=(key,), **server),
        translator(mode, shown=("", "wrong", f" {key} "), **server),
        translator(mode, (b"authorization", b"Bearer "), shown=(key,), **server),
        translator(mode, bearer("dummy"), shown=(key,), **server),
        translator(mode, bearer(key), shown=("wrong",), **server),
    ]
    assert len({caller.name for caller in callers}) == 1
    assert {caller.account.is_ours for caller in callers} == {True}


def test_translate_tokens_open_nothing_else() -> None:
    auth = Auth("managed", ["first"], "ours", "our-token", API, EMULATOR, [TRANSLATE_TOKEN])
    with pytest.raises(AuthenticationError, match="API_KEYS"):
        auth.identify([bearer(TRANSLATE_TOKEN)])
    assert auth.identify([bearer("first")]).account == OURS


def test_translate_tokens_alone_close_translations_only() -> None:
    auth = Auth("managed", [], "ours", "our-token", API, EMULATOR, [TRANSLATE_TOKEN])
    assert auth.identify([]).account == OURS
    with pytest.raises(AuthenticationError, match="TRANSLATE_TOKENS"):
        auth.identify_translator([], [])


@pytest.mark.parametrize("server", [{"keys": ("first",)}, {"tokens": (TRANSLATE_TOKEN,)}])
@pytest.mark.parametrize(
    ("headers", "shown", "problem"),
    [
        ([], (), "no API key"),
        ([(b"authorization", b"Bearer ")], ("", " "), "no API key"),
        ([], ("our-token",), "not valid"),
        ([bearer("wrong")], ("wrong", "for-translations"), "not valid"),
    ],
)
def test_a_translator_without_a_good_key_is_refused(
    server: dict[str, tuple[str, ...]], headers: list[tuple[bytes, bytes]], shown: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(AuthenticationError, match=problem):
        translator("managed", *headers, shown=shown, **server)


def test_translations_are_open_where_no_key_is_set() -> None:
    assert translator("managed") == Caller("anonymous", OURS)
    assert translator("managed", shown=("anything",)).account == OURS
    assert translator("emulator", shown=("anything",)).account.base_url == EMULATOR
    assert translator("emulator", shown=(f"{OWN_ID}:their-token",)).account.id == OWN_ID


@pytest.mark.parametrize(
    ("headers", "shown", "account"),
    [
        ([(b"authorization", b"Bearer ")], ("their-token",), ("ours", "their-token")),
        ([], ("", f"{OWN_ID}:their-token"), (OWN_ID, "their-token")),
        ([bearer("their-token")], ("another",), ("ours", "their-token")),
    ],
)
def test_a_cloudflare_token_may_stand_in_the_url_of_a_translation(
    headers: list[tuple[bytes, bytes]], shown: tuple[str, ...], account: tuple[str, str]
) -> None:
    caller = translator("pass-through", *headers, shown=shown)
    assert caller.account == Account(*account, API, is_ours=False)


def test_who_brings_no_cloudflare_token_can_not_translate() -> None:
    with pytest.raises(AuthenticationError, match="Cloudflare API token"):
        translator("pass-through", shown=("",), tokens=(TRANSLATE_TOKEN,))

import pytest

from app.auth import Auth
from app.calls import Account, Caller
from app.errors import AuthenticationError
from app.settings import Settings

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

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.settings import Mode, Settings

ACCOUNT = {"CLOUDFLARE_ACCOUNT_ID": "account1"}
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound here
MANAGED = {**ACCOUNT, "CLOUDFLARE_API_TOKEN": "token-of-the-test", "API_KEYS": "key-one,key-two"}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    def load(environment: dict[str, str]) -> Settings:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return Settings(_env_file=None)

    return load


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "emulator"),
        ({"API_KEYS": "key"}, "emulator"),
        ({"HOST": EVERYWHERE}, "emulator"),
        (ACCOUNT, "pass-through"),
        ({**ACCOUNT, "HOST": EVERYWHERE}, "pass-through"),
        ({**ACCOUNT, "CLOUDFLARE_API_TOKEN": "token"}, "managed"),
        (MANAGED, "managed"),
        ({**MANAGED, "HOST": EVERYWHERE}, "managed"),
    ],
)
def test_the_credentials_decide_the_mode(load: Any, environment: dict[str, str], mode: Mode) -> None:
    assert load(environment).mode == mode


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        (EVERYWHERE, False),
        ("::", False),
        ("192.168.1.4", False),
        ("localhost.example.com", False),
        ("example.com", False),
    ],
)
def test_loopback_is_this_machine_only(load: Any, host: str, is_loopback: bool) -> None:
    assert load({"HOST": host}).is_loopback is is_loopback


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.168.1.4", "example.com"])
def test_an_open_relay_is_refused(load: Any, host: str) -> None:
    with pytest.raises(ValidationError, match=f"With HOST={host} everybody.*Set API_KEYS"):
        load({**ACCOUNT, "CLOUDFLARE_API_TOKEN": "token", "HOST": host})


def test_keys_that_are_only_commas_protect_nothing(load: Any) -> None:
    with pytest.raises(ValidationError, match="Set API_KEYS"):
        load({**MANAGED, "API_KEYS": " , ,", "HOST": EVERYWHERE})


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"CLOUDFLARE_API_TOKEN": "token"}, "CLOUDFLARE_ACCOUNT_ID is not: set both"),
        ({**ACCOUNT, "API_KEYS": "key"}, "there is no CLOUDFLARE_API_TOKEN they could stand for"),
        ({"CLOUDFLARE_ACCOUNT_ID": "a/../b"}, "cloudflare_account_id"),
        ({"PORT": "65536"}, "port"),
        ({"WORKERS": "0"}, "workers"),
        ({"LOG_LEVEL": "verbose"}, "log_level"),
        ({"CLOUDFLARE_API_BASE_URL": "example.com"}, "cloudflare_api_base_url"),
        ({"CLOUDFLARE_API_BASE_URL": "ftp://example.com"}, "cloudflare_api_base_url"),
        ({"MODEL_ALIASES": '{"a": 5}'}, "model_aliases"),
        ({"MAX_TRIES": "0"}, "max_tries"),
        ({"IDLE_TIMEOUT_SECONDS": "0"}, "idle_timeout_seconds"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(load: Any, environment: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        load(environment)


def test_lists_are_comma_separated(load: Any) -> None:
    settings = load({"API_KEYS": " one, two,,", "CORS_ORIGINS": "https://a.example,https://b.example"})
    assert [key.get_secret_value() for key in settings.api_keys] == ["one", "two"]
    assert settings.cors_origins == ("https://a.example", "https://b.example")


def test_a_list_may_also_be_given_in_code() -> None:
    settings = Settings(_env_file=None, remote_fetch_allow=("nas.lan", "192.168.1.0/24"))
    assert settings.remote_fetch_allow == ("nas.lan", "192.168.1.0/24")


def test_an_empty_value_counts_as_not_set(load: Any) -> None:
    names = [name.upper() for name in Settings.model_fields]
    assert load(dict.fromkeys(names, "")) == Settings(_env_file=None)


def test_the_defaults_start_the_emulator_on_this_machine_only(load: Any) -> None:
    settings = load({})
    assert (settings.mode, settings.host, settings.port) == ("emulator", "127.0.0.1", 8000)
    assert settings.cloudflare_api_base_url == "https://api.cloudflare.com/client/v4"


def test_addresses_lose_their_last_slash(load: Any) -> None:
    settings = load({"CLOUDFLARE_API_BASE_URL": "http://127.0.0.1:9/v4//"})
    assert settings.cloudflare_api_base_url == "http://127.0.0.1:9/v4"


def test_aliases_are_json(load: Any) -> None:
    settings = load({"MODEL_ALIASES": '{"a": "@cf/x/y", "b": {"model": "a", "reasoning_effort": "low"}}'})
    assert settings.model_aliases == {"a": "@cf/x/y", "b": {"model": "a", "reasoning_effort": "low"}}


@pytest.mark.parametrize("show", [repr, str, Settings.model_dump_json])
def test_secrets_are_not_shown(load: Any, show: Any) -> None:
    text = show(load(MANAGED))
    assert not [secret for secret in ("token-of-the-test", "key-one", "key-two") if secret in text]


def test_settings_do_not_change(load: Any) -> None:
    settings = load({})
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1


def test_a_dotenv_file_is_read_and_the_environment_comes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "env"
    file.write_text("PORT=9001\nHOST=localhost\nUNKNOWN=ignored\n")
    monkeypatch.setenv("PORT", "9002")
    settings = Settings(_env_file=file)
    assert (settings.host, settings.port) == ("localhost", 9002)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_option_has_one_line_of_meaning(name: str) -> None:
    description = Settings.model_fields[name].description
    assert description
    assert "\n" not in description


def test_a_refused_setting_is_told_without_its_value(load: Any) -> None:
    with pytest.raises(ValidationError) as failure:
        load({"CLOUDFLARE_API_TOKEN": "secret-token"})
    assert "secret-token" not in str(failure.value)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"cloudflare_accounts": "id-without-token"}, "CLOUDFLARE_ACCOUNTS"),
        ({"cloudflare_accounts": "id:"}, "CLOUDFLARE_ACCOUNTS"),
        ({"cloudflare_account_id": "id", "translate_tokens": "token"}, "TRANSLATE_TOKENS"),
    ],
)
def test_accounts_and_tokens_that_cannot_pay_are_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        Settings(_env_file=None, **options)
    assert "id-without-token" not in str(caught.value)


def test_several_accounts_are_a_managed_server_with_a_budget_of_what_is_free() -> None:
    settings = Settings(_env_file=None, cloudflare_accounts="one:t1,two:t2")
    assert settings.mode == "managed"
    assert settings.budget(2) == 20_000
    assert Settings(_env_file=None, neuron_budget=0).budget(2) is None

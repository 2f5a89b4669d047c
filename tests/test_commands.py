import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import __version__
from app.__main__ import command_line
from app.calls import Limits
from app.commands import run, setup_of, shown
from app.stores.key_file import list_keys
from app.stores.keys import Keys
from tests.serving import ACCOUNT, DEADLINE_SECONDS, KEY, TOKEN, Cloudflare, settings

EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound here


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """DATA_DIR, in a place where no `.env` lies."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PORT", "0")
    return tmp_path / "data"


Output = pytest.CaptureFixture[str]


def test_a_key_is_shown_once(folder: Path, capsys: Output) -> None:
    assert run(["keys", "add", "alice", "rpm=60", "models=gpt-*|@cf/meta/*"]) == 0
    output = capsys.readouterr()
    key = output.out.strip()
    assert re.fullmatch(r"sk-[\w-]{43}", key)
    assert "alice" in output.err
    found = Keys((), folder / "keys.toml").find(key)
    assert found
    assert found.limits == Limits(requests_per_minute=60, models=("gpt-*", "@cf/meta/*"))
    assert run(["keys", "list"]) == 0
    output = capsys.readouterr()
    assert output.out == "alice\trpm=60 models=gpt-*|@cf/meta/*\n"
    assert key not in (folder / "keys.toml").read_text()


def test_a_key_gets_other_limits_and_ends(folder: Path, capsys: Output) -> None:
    for name in ("bob", "alice"):
        assert run(["keys", "add", name]) == 0
    assert run(["keys", "limit", "bob", "neurons=5000", "concurrent=2"]) == 0
    capsys.readouterr()
    assert run(["keys", "list"]) == 0
    assert capsys.readouterr().out == "alice\tno limits\nbob\tconcurrent=2 neurons=5000.0\n"
    assert run(["keys", "remove", "bob"]) == 0
    assert [entry.name for entry in list_keys(folder / "keys.toml")] == ["alice"]
    assert "bob is no longer valid" in capsys.readouterr().err


def test_an_empty_list_says_where_it_looked(folder: Path, capsys: Output) -> None:
    assert run(["keys", "list"]) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert str(folder / "keys.toml") in output.err


@pytest.mark.parametrize(
    "arguments",
    [["remove", "nobody"], ["limit", "nobody", "rpm=1"], ["add", "a name"], ["add", "bob", "speed=1"]],
)
def test_a_change_that_cannot_be_made_is_told_in_a_line(folder: Path, capsys: Output, arguments: list[str]) -> None:
    assert run(["keys", *arguments]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert not folder.exists()


def test_keys_may_be_what_the_settings_lack(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", EVERYWHERE)
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
    assert run(["keys", "add", "alice"]) == 0
    assert "alice" in tomllib.loads((folder / "keys.toml").read_text())["keys"]


@pytest.mark.parametrize("arguments", [["serve-well"], ["keys"], ["keys", "add"], ["doctor", "now"], []])
def test_unknown_commands_are_refused(arguments: list[str], capsys: Output) -> None:
    with pytest.raises(SystemExit) as left:
        run(arguments)
    assert left.value.code == 2
    assert "usage: flarelay" in capsys.readouterr().err


def test_the_version_is_told(capsys: Output) -> None:
    with pytest.raises(SystemExit) as left:
        run(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"Flarelay {__version__}\n"


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Limits(), "no limits"),
        (Limits(requests_per_minute=1, concurrent_requests=2), "rpm=1 concurrent=2"),
        (Limits(neurons_per_day=0.5, models=("a", "b*")), "neurons=0.5 models=a|b*"),
    ],
)
def test_limits_are_shown_as_they_are_given(limits: Limits, text: str) -> None:
    assert shown(limits) == text


@pytest.mark.usefixtures("folder")
def test_the_doctor_finds_a_server_without_settings_well(capsys: Output) -> None:
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ok          settings: they can be read."
    assert lines[1].startswith("warning     mode: emulator")
    assert "Set CLOUDFLARE_ACCOUNT_ID" in lines[1]


@pytest.fixture
def managed(monkeypatch: pytest.MonkeyPatch, upstream: Cloudflare) -> None:
    values = {"ACCOUNT_ID": ACCOUNT, "API_TOKEN": TOKEN, "API_BASE_URL": upstream.url}
    for name, value in values.items():
        monkeypatch.setenv(f"CLOUDFLARE_{name}", value)


@pytest.mark.usefixtures("folder", "managed")
def test_the_doctor_finds_a_server_with_an_account_well(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setenv("API_KEYS", KEY)
    assert run(["keys", "add", "alice"]) == 0
    key = capsys.readouterr().out.strip()
    assert run(["doctor"]) == 0
    output = capsys.readouterr().out
    assert "ok          models on account1: they may be run." in output
    assert "ok          API_KEYS: callers need one of 2." in output
    assert "ok          licence of @cf/meta/llama-3.2-11b-vision-instruct on account1" in output
    for secret in (TOKEN, KEY, key):
        assert secret not in output


@pytest.mark.usefixtures("folder", "managed")
def test_the_doctor_fails_with_what_it_examines(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "a-wrong-one")
    assert run(["doctor"]) == 1
    output = capsys.readouterr().out
    assert "FAILED      account account1: the token may not use Workers AI on it." in output
    assert "a-wrong-one" not in output


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "eighty", "FAILED      settings: PORT: Input should be a valid integer"),
        ("MODEL_ALIASES", "{", 'settings: error parsing value for field "model_aliases"'),
        ("MODEL_ALIASES", '{"a": "nowhere"}', "settings: MODEL_ALIASES: 'a' leads to no model"),
        ("CLOUDFLARE_API_TOKEN", TOKEN, "settings: CLOUDFLARE_API_TOKEN is set, CLOUDFLARE_ACCOUNT_ID is not"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_the_doctor_tells_what_is_wrong_with_the_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    assert run(["doctor"]) == 1
    output = capsys.readouterr().out
    assert words in output
    assert "not checked everything else: the settings come first." in output
    assert TOKEN not in output


def test_the_doctor_tells_of_keys_that_cannot_be_read(folder: Path, capsys: Output) -> None:
    folder.mkdir()
    (folder / "keys.toml").write_text("[keys")
    assert run(["doctor"]) == 1
    assert "FAILED      settings: " in capsys.readouterr().out


@pytest.mark.parametrize(("pictures_url", "wanted"), [(None, 12), ("s3://bucket/folder", 2)])
def test_pictures_in_a_bucket_need_no_disk(folder: Path, pictures_url: str | None, wanted: int) -> None:
    given = settings(pictures_url=pictures_url, pictures_max_bytes=10, translation_cache_max_bytes=2)
    assert setup_of(given).wanted_bytes == wanted


@pytest.fixture
def _undone() -> Iterator[None]:
    mask = os.umask(0o022)
    yield
    os.umask(mask)


@pytest.mark.usefixtures("_undone")
def test_the_command_line_runs_commands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["flarelay", "keys", "add", "alice"])
    with pytest.raises(SystemExit) as left:
        command_line()
    assert left.value.code == 0
    assert (folder.stat().st_mode & 0o777, (folder / "keys.toml").stat().st_mode & 0o777) == (0o700, 0o600)


@pytest.mark.usefixtures("_undone", "folder")
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PORT", "eighty", "PORT: "),
        ("API_KEYS", "alice=sk-very-secret;rpm=many", "Key 1 of the settings: `rpm`"),
        ("MODEL_ALIASES", '{"mine": "openai/gpt-4.1"}', "MODEL_ALIASES: 'mine' leads to no model"),
        ("MODEL_FALLBACKS", '{"gpt-4o": ["gpt-none"]}', "MODEL_FALLBACKS: 'gpt-none' leads to no model"),
    ],
)
def test_a_server_that_cannot_start_says_why_in_a_line(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(sys, "argv", ["flarelay"])
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as left:
        command_line()
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(told)
    assert "secret" not in line


@pytest.mark.usefixtures("_undone", "folder")
def test_without_a_command_it_serves(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    served = list[object]()
    monkeypatch.setattr("uvicorn.run", lambda app, **_: served.append(app))
    monkeypatch.setattr("gc.disable", lambda: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["flarelay"])
    monkeypatch.setenv("AI_GATEWAY_ID", "mine")
    monkeypatch.setenv("MODEL_ALIASES", '{"mine": "openai/gpt-4.1"}')
    command_line()
    assert served == ["app.main:from_environment"]
    assert "http://127.0.0.1:" in capsys.readouterr().out
    monkeypatch.setattr("app.server.listening.serve_together", lambda app, workers, _: served.append((app, workers)))
    monkeypatch.setenv("WORKERS", "3")
    command_line()
    assert served[1:] == [("app.main:from_environment", 3)]


@pytest.mark.usefixtures("folder")
def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "keys", "list"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.stdout == ""
    assert "There are no keys" in done.stderr

import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from app.calls import UNLIMITED, Limits
from app.stores import keys
from app.stores.keys import (
    KeyEntry,
    Keys,
    KeysError,
    add_key,
    fingerprint,
    list_keys,
    parse_entry,
    parse_limits,
    remove_key,
    set_limits,
)

DIGEST = "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90"
"""Of `alice`'s key, which is `alice`."""
ALL = Limits(60, 4, 5000.5, ("gpt-*", "@cf/meta/*"))


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        self.time += 2
        return self.time


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keys.toml"


def file(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def fields(record: logging.LogRecord) -> Any:
    return vars(record)["fields"]


@pytest.mark.parametrize(
    ("text", "name", "key", "limits"),
    [
        ("sk-1234", "88dc28d0", "sk-1234", UNLIMITED),
        (" sk-1234 ", "88dc28d0", "sk-1234", UNLIMITED),
        ("YWJjZA==", fingerprint("YWJjZA=="), "YWJjZA==", UNLIMITED),
        ("YWJjZA=", fingerprint("YWJjZA="), "YWJjZA=", UNLIMITED),
        ("a:b;c", fingerprint("a:b;c"), "a:b;c", UNLIMITED),
        ("two words=key", fingerprint("two words=key"), "two words=key", UNLIMITED),
        ("alice=sk:12=34==", "alice", "sk:12=34==", UNLIMITED),
        ("alice = sk", fingerprint("alice = sk"), "alice = sk", UNLIMITED),
        ("alice=sk;rpm=60", "alice", "sk", Limits(requests_per_minute=60)),
        ("a.l-i_ce=sk ; concurrent = 4", "a.l-i_ce", "sk", Limits(concurrent_requests=4)),
        ("alice=sk;neurons=0.5", "alice", "sk", Limits(neurons_per_day=0.5)),
        ("alice=sk;models= gpt-* | 翻译", "alice", "sk", Limits(models=("gpt-*", "翻译"))),
        ("alice=sk;models=gpt-*|@cf/meta/*;rpm=60;neurons=5000.5;concurrent=4", "alice", "sk", ALL),
    ],
)
def test_an_entry_is_a_key_or_a_name_a_key_and_limits(text: str, name: str, key: str, limits: Limits) -> None:
    entry = parse_entry(text)
    assert (entry.name, entry.limits) == (name, limits)
    assert Keys([text]).find(key) == entry
    assert Keys([text]).find(f"{key}x") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "A key is empty"),
        ("alice=;rpm=60", "A key is empty"),
        ("anonymous=secret", "not `anonymous`"),
        ("secret;rpm=60", "needs a name"),
        ("secret ; models = gpt-*", "needs a name"),
        ("alice=secret;rpm", "`rpm` and `concurrent` are whole numbers"),
        ("alice=secret;rpm=0", "`rpm` and `concurrent` are whole numbers"),
        ("alice=secret;concurrent=1.5", "`rpm` and `concurrent` are whole numbers"),
        ("alice=secret;neurons=many", "`neurons` is a number"),
        ("alice=secret;neurons=-1", "`neurons` is a number"),
        ("alice=secret;neurons=nan", "`neurons` is a number"),
        ("alice=secret;models=", "`models` are names"),
        ("alice=secret;models=gpt-*|\n", "`models` are names"),
        ("alice=secret;rpm=1;rpm=2", "`rpm` is there twice"),
        ("alice=secret;rmp=60", "only `;rpm=`"),
        ("alice=se;cret", "only `;rpm=`"),
    ],
)
def test_an_entry_that_can_not_be_understood_is_told_without_its_key(text: str, message: str) -> None:
    with pytest.raises(KeysError, match=message):
        parse_entry(text)
    with pytest.raises(KeysError, match=f"Key 2 of the settings: .*{message}") as raised:
        Keys(["other", text])
    assert "secret" not in str(raised.value)
    assert "cret" not in str(raised.value).replace("secret", "")
    assert "secret" not in repr(raised.value.__cause__)


def test_an_entry_shows_neither_key_nor_digest() -> None:
    assert repr(parse_entry("alice=sk")) == (
        "KeyEntry(name='alice', limits=Limits(requests_per_minute=None, concurrent_requests=None, "
        "neurons_per_day=None, models=()))"
    )


def test_limits_are_parsed_alone_as_well() -> None:
    assert parse_limits(["rpm=60", "concurrent=4", "neurons=5000.5", "models=gpt-*|@cf/meta/*"]) == ALL
    assert parse_limits([]) is UNLIMITED


def test_no_two_keys_share_a_name_and_no_two_names_a_key(path: Path) -> None:
    assert len(Keys(["one", "one", "alice=two", "alice=two"]).entries) == 2
    with pytest.raises(KeysError, match="Two keys have the name alice"):
        Keys(["alice=one", "alice=two"])
    with pytest.raises(KeysError, match="alice and bob are the same key"):
        Keys(["alice=one", "bob=one"])
    key = add_key(path, "alice")
    with pytest.raises(KeysError, match="Two keys have the name alice"):
        Keys(["alice=one"], path)
    with pytest.raises(KeysError, match="bob and alice are the same key"):
        Keys([f"bob={key}"], path)


def test_a_new_key_is_in_the_file_as_a_hash_only(path: Path) -> None:
    one, other = add_key(path, "alice"), add_key(path, "bob", ALL)
    assert one != other
    assert len(one) == 46
    assert one.startswith("sk-")
    text = path.read_text("utf-8")
    assert one not in text
    assert other not in text
    assert text == (
        "# Written by `flarelay keys`, which keeps no comments. The server reads it again when it changes.\n"
        "\n"
        f'[keys."alice"]\nsha256 = "{parse_entry(one).digest.hex()}"\n'
        "\n"
        f'[keys."bob"]\nsha256 = "{parse_entry(other).digest.hex()}"\n'
        "requests_per_minute = 60\nconcurrent_requests = 4\nneurons_per_day = 5000.5\n"
        'models = ["gpt-*", "@cf/meta/*"]\n'
    )
    assert list_keys(path) == [
        KeyEntry("alice", parse_entry(one).digest),
        KeyEntry("bob", parse_entry(other).digest, ALL),
    ]
    found = Keys(["carol=three"], path)
    assert [entry and entry.name for entry in map(found.find, (one, other, "three", "four"))] == [
        "alice",
        "bob",
        "carol",
        None,
    ]


def test_the_file_is_for_nobody_else_to_read(path: Path) -> None:
    add_key(path, "alice")
    path.chmod(0o644)
    add_key(path, "bob")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["keys.toml"]  # noqa: PTH208 - names are what is compared


def test_keys_are_removed_and_limited_by_name(path: Path) -> None:
    key = add_key(path, "alice")
    add_key(path, "bob")
    odd = Limits(models=('"*\\', "翻译"), neurons_per_day=1e30)
    set_limits(path, "alice", odd)
    assert list_keys(path)[0] == KeyEntry("alice", parse_entry(key).digest, odd)
    set_limits(path, "alice", UNLIMITED)
    remove_key(path, "bob")
    assert list_keys(path) == [KeyEntry("alice", parse_entry(key).digest)]
    with pytest.raises(KeysError, match="no key named bob"):
        remove_key(path, "bob")
    with pytest.raises(KeysError, match="no key named bob"):
        set_limits(path, "bob", ALL)
    with pytest.raises(KeysError, match="named alice already"):
        add_key(path, "alice")


@pytest.mark.parametrize("name", ["", "anonymous", "-x", "a b", 'a"]', "ä", "a" * 65])
def test_a_name_is_checked(path: Path, name: str) -> None:
    with pytest.raises(KeysError, match="A name has 1 to 64"):
        add_key(path, name)
    assert not path.exists()


@pytest.mark.parametrize(
    "limits",
    [
        Limits(requests_per_minute=0),
        Limits(concurrent_requests=-1),
        Limits(neurons_per_day=float("nan")),
        Limits(neurons_per_day=float("inf")),
        Limits(models=("a\nb",)),
        Limits(models=("\x7f",)),
    ],
)
def test_limits_that_can_not_be_are_not_written(path: Path, limits: Limits) -> None:
    with pytest.raises(KeysError, match="limits can't be"):
        add_key(path, "alice", limits)
    assert not path.exists()


def test_a_file_that_can_not_be_written_stays_as_it_is(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "something").touch()
    with pytest.raises(KeysError, match="can't be read"):
        add_key(path, "alice")
    with pytest.raises(KeysError, match="can't be written"):
        keys._write(path, [])
    assert os.listdir(path.parent) == ["keys.toml"]  # noqa: PTH208 - names are what is compared
    with pytest.raises(KeysError, match="can't be written"):
        keys._write(file(path.parent / "file", "") / "keys.toml", [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[keys", "can't be understood"),
        ("a = 1", "something beside `keys`"),
        ("keys = 1", "`keys` is no table"),
        ("[keys]\nsecret = 1", "entry 1 of `keys` is no table"),
        ('[keys."a secret"]\n', "the name of entry 1 of `keys` is none"),
        ("[keys.anonymous]\n", "the name of entry 1 of `keys` is none"),
        ("[keys.secret]\n", "`sha256` of entry 1 of `keys` is not 64"),
        ("[keys.alice]\nsha256 = 'secret'", "`sha256` of entry 1 of `keys` is not 64"),
        (f"[keys.alice]\nsha256 = '{DIGEST}'\nrpm = 60", "`rpm` of `alice` is no limit"),
        (f"[keys.alice]\nsha256 = '{DIGEST}'\nrequests_per_minute = true", "is no limit"),
        (f"[keys.alice]\nsha256 = '{DIGEST}'\nneurons_per_day = '5'", "is no limit"),
        (f"[keys.alice]\nsha256 = '{DIGEST}'\nneurons_per_day = nan", "is no limit"),
        (f"[keys.alice]\nsha256 = '{DIGEST}'\nmodels = 'gpt-*'", "`models` of `alice` is no limit"),
        (f"[keys.alice]\nsha256 = '{DIGEST}'\nmodels = ['']", "`models` of `alice` is no limit"),
        (f"[keys.alice]\nsha256 = '{DIGEST}'\nmodels = [1]", "`models` of `alice` is no limit"),
        (f"[keys.alice]\nsha256 = '{DIGEST}'\n[keys.bob]\nsha256 = '{DIGEST}'", "alice and bob are the same key"),
    ],
)
def test_a_broken_file_is_an_error_at_the_start(path: Path, text: str, message: str) -> None:
    with pytest.raises(KeysError, match=message) as raised:
        Keys((), file(path, text))
    assert "secret" not in str(raised.value)


def test_a_file_in_another_encoding_is_an_error(path: Path) -> None:
    file(path, "").write_bytes(b"# \xff")
    with pytest.raises(KeysError, match="is not UTF-8"):
        Keys((), path)


def test_a_file_written_by_hand_is_read(path: Path) -> None:
    file(path, f"[keys]\nalice = {{ sha256 = '{DIGEST}', neurons_per_day = 5, models = [] }}")
    assert Keys((), path).find("alice") == KeyEntry("alice", bytes.fromhex(DIGEST), Limits(neurons_per_day=5))


def test_changes_count_while_the_server_runs(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    valid = Keys(["one"], path, now=Clock())
    assert valid.find("one")
    alice = add_key(path, "alice")
    assert valid.find(alice) == KeyEntry("alice", parse_entry(alice).digest)
    set_limits(path, "alice", ALL)
    assert getattr(valid.find(alice), "limits", None) == ALL
    assert valid.find(alice)
    remove_key(path, "alice")
    assert valid.find(alice) is None
    assert valid.find("one")
    assert [fields(record)["keys"] for record in caplog.records] == [2, 2, 1]
    assert alice not in caplog.text


def test_the_file_is_looked_at_once_a_second_at_most(path: Path) -> None:
    time = 0.0
    valid = Keys((), path, now=lambda: time)
    key = add_key(path, "alice")
    time = 0.9
    assert valid.find(key) is None
    time = 1.0
    assert valid.find(key)
    remove_key(path, "alice")
    time = 1.9
    assert valid.find(key)
    time = 2.0
    assert valid.find(key) is None


def test_while_the_file_is_broken_the_former_keys_stay_valid(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = add_key(path, "alice")
    valid = Keys((), path, now=Clock())
    good = path.read_text("utf-8")
    for text in ("[keys", "[keys", "a = 1"):
        file(path, text)
        assert valid.find(key)
        assert valid.find(key)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]  # once for each reason
    assert "something beside `keys`" in fields(caplog.records[1])["reason"]
    file(path, good)
    assert valid.find(key)
    file(path, "[keys")
    assert valid.find(key)
    assert len(caplog.records) == 3
    assert key not in caplog.text


def test_a_folder_that_can_not_be_entered_leaves_the_keys_valid(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = add_key(path, "alice")
    valid = Keys((), path, now=Clock())
    path.unlink()
    path.symlink_to(path)
    assert valid.find(key)
    assert ["can't be read" in fields(record)["reason"] for record in caplog.records] == [True]


def test_keys_are_required_once_there_has_been_one(path: Path) -> None:
    assert not Keys().is_required
    assert Keys(["one"]).is_required
    valid = Keys((), path, now=Clock())
    assert not valid.is_required
    key = add_key(path, "alice")
    assert valid.find(key)
    assert valid.is_required
    remove_key(path, "alice")
    assert valid.find(key) is None
    assert valid.is_required
    assert Keys((), path).is_required
    path.unlink()
    assert valid.find(key) is None
    assert valid.is_required

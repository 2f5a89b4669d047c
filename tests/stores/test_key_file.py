import os
import stat
from pathlib import Path

import pytest

from app.calls import UNLIMITED, Limits
from app.stores import key_file
from app.stores.key_entries import KeyEntry, KeysError, parse_entry
from app.stores.key_file import add_key, list_keys, remove_key, set_limits
from app.stores.keys import Keys

DIGEST = "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90"
"""Of `alice`'s key, which is `alice`."""
ALL = Limits(60, 4, 5000.5, ("gpt-*", "@cf/meta/*"))


def file(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def test_a_new_key_is_in_the_file_as_a_hash_only(keys_path: Path) -> None:
    one, other = add_key(keys_path, "alice"), add_key(keys_path, "bob", ALL)
    assert one != other
    assert len(one) == 46
    assert one.startswith("sk-")
    text = keys_path.read_text("utf-8")
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
    assert list_keys(keys_path) == [
        KeyEntry("alice", parse_entry(one).digest),
        KeyEntry("bob", parse_entry(other).digest, ALL),
    ]
    found = Keys(["carol=three"], keys_path)
    assert [entry and entry.name for entry in map(found.find, (one, other, "three", "four"))] == [
        "alice",
        "bob",
        "carol",
        None,
    ]


def test_the_file_is_for_nobody_else_to_read(keys_path: Path) -> None:
    add_key(keys_path, "alice")
    keys_path.chmod(0o644)
    add_key(keys_path, "bob")
    assert stat.S_IMODE(keys_path.stat().st_mode) == 0o600
    assert os.listdir(keys_path.parent) == ["keys.toml"]  # noqa: PTH208 - names are what is compared


def test_keys_are_removed_and_limited_by_name(keys_path: Path) -> None:
    key = add_key(keys_path, "alice")
    add_key(keys_path, "bob")
    odd = Limits(models=('"*\\', "翻译"), neurons_per_day=1e30)
    set_limits(keys_path, "alice", odd)
    assert list_keys(keys_path)[0] == KeyEntry("alice", parse_entry(key).digest, odd)
    set_limits(keys_path, "alice", UNLIMITED)
    remove_key(keys_path, "bob")
    assert list_keys(keys_path) == [KeyEntry("alice", parse_entry(key).digest)]
    with pytest.raises(KeysError, match="no key named bob"):
        remove_key(keys_path, "bob")
    with pytest.raises(KeysError, match="no key named bob"):
        set_limits(keys_path, "bob", ALL)
    with pytest.raises(KeysError, match="named alice already"):
        add_key(keys_path, "alice")


@pytest.mark.parametrize("name", ["", "anonymous", "-x", "a b", 'a"]', "ä", "a" * 65])
def test_a_name_is_checked(keys_path: Path, name: str) -> None:
    with pytest.raises(KeysError, match="A name has 1 to 64"):
        add_key(keys_path, name)
    assert not keys_path.exists()


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
def test_limits_that_can_not_be_are_not_written(keys_path: Path, limits: Limits) -> None:
    with pytest.raises(KeysError, match="limits can't be"):
        add_key(keys_path, "alice", limits)
    assert not keys_path.exists()


def test_a_file_that_can_not_be_written_stays_as_it_is(keys_path: Path) -> None:
    keys_path.mkdir(parents=True)
    (keys_path / "something").touch()
    with pytest.raises(KeysError, match="can't be read"):
        add_key(keys_path, "alice")
    with pytest.raises(KeysError, match="can't be written"):
        key_file._write(keys_path, [])
    assert os.listdir(keys_path.parent) == ["keys.toml"]  # noqa: PTH208 - names are what is compared
    with pytest.raises(KeysError, match="can't be written"):
        key_file._write(file(keys_path.parent / "file", "") / "keys.toml", [])


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
def test_a_broken_file_is_an_error_at_the_start(keys_path: Path, text: str, message: str) -> None:
    with pytest.raises(KeysError, match=message) as raised:
        Keys((), file(keys_path, text))
    assert "secret" not in str(raised.value)


def test_a_file_in_another_encoding_is_an_error(keys_path: Path) -> None:
    file(keys_path, "").write_bytes(b"# \xff")
    with pytest.raises(KeysError, match="is not UTF-8"):
        Keys((), keys_path)


def test_a_file_written_by_hand_is_read(keys_path: Path) -> None:
    file(keys_path, f"[keys]\nalice = {{ sha256 = '{DIGEST}', neurons_per_day = 5, models = [] }}")
    assert Keys((), keys_path).find("alice") == KeyEntry("alice", bytes.fromhex(DIGEST), Limits(neurons_per_day=5))

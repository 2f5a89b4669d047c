import logging
from pathlib import Path
from typing import Any

import pytest

from app.calls import Limits
from app.stores.key_entries import KeyEntry, KeysError, parse_entry
from app.stores.key_file import add_key, remove_key, set_limits
from app.stores.keys import Keys

LIMITS = Limits(60)


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        self.time += 2
        return self.time


def fields(record: logging.LogRecord) -> Any:
    return vars(record)["fields"]


def test_no_two_keys_share_a_name_and_no_two_names_a_key(keys_path: Path) -> None:
    assert len(Keys(["one", "one", "alice=two", "alice=two"]).entries) == 2
    with pytest.raises(KeysError, match="Two keys have the name alice"):
        Keys(["alice=one", "alice=two"])
    with pytest.raises(KeysError, match="alice and bob are the same key"):
        Keys(["alice=one", "bob=one"])
    key = add_key(keys_path, "alice")
    with pytest.raises(KeysError, match="Two keys have the name alice"):
        Keys(["alice=one"], keys_path)
    with pytest.raises(KeysError, match="bob and alice are the same key"):
        Keys([f"bob={key}"], keys_path)


def test_changes_count_while_the_server_runs(keys_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    valid = Keys(["one"], keys_path, now=Clock())
    assert valid.find("one")
    alice = add_key(keys_path, "alice")
    assert valid.find(alice) == KeyEntry("alice", parse_entry(alice).digest)
    set_limits(keys_path, "alice", LIMITS)
    assert getattr(valid.find(alice), "limits", None) == LIMITS
    assert valid.find(alice)
    remove_key(keys_path, "alice")
    assert valid.find(alice) is None
    assert valid.find("one")
    assert [fields(record)["keys"] for record in caplog.records] == [2, 2, 1]
    assert alice not in caplog.text


def test_the_file_is_looked_at_once_a_second_at_most(keys_path: Path) -> None:
    time = 0.0
    valid = Keys((), keys_path, now=lambda: time)
    key = add_key(keys_path, "alice")
    time = 0.9
    assert valid.find(key) is None
    time = 1.0
    assert valid.find(key)
    remove_key(keys_path, "alice")
    time = 1.9
    assert valid.find(key)
    time = 2.0
    assert valid.find(key) is None


def test_while_the_file_is_broken_the_former_keys_stay_valid(keys_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = add_key(keys_path, "alice")
    valid = Keys((), keys_path, now=Clock())
    good = keys_path.read_text("utf-8")
    for text in ("[keys", "[keys", "a = 1"):
        keys_path.write_text(text, "utf-8")
        assert valid.find(key)
        assert valid.find(key)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]  # once for each reason
    assert "something beside `keys`" in fields(caplog.records[1])["reason"]
    keys_path.write_text(good, "utf-8")
    assert valid.find(key)
    keys_path.write_text("[keys", "utf-8")
    assert valid.find(key)
    assert len(caplog.records) == 3
    assert key not in caplog.text


def test_a_folder_that_can_not_be_entered_leaves_the_keys_valid(
    keys_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = add_key(keys_path, "alice")
    valid = Keys((), keys_path, now=Clock())
    keys_path.unlink()
    keys_path.symlink_to(keys_path)
    assert valid.find(key)
    assert ["can't be read" in fields(record)["reason"] for record in caplog.records] == [True]


def test_keys_are_required_once_there_has_been_one(keys_path: Path) -> None:
    assert not Keys().is_required
    assert Keys(["one"]).is_required
    valid = Keys((), keys_path, now=Clock())
    assert not valid.is_required
    key = add_key(keys_path, "alice")
    assert valid.find(key)
    assert valid.is_required
    remove_key(keys_path, "alice")
    assert valid.find(key) is None
    assert valid.is_required
    assert Keys((), keys_path).is_required
    keys_path.unlink()
    assert valid.find(key) is None
    assert valid.is_required

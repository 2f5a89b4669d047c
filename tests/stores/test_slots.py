"""Slots: a file that one process writes and others read."""

from pathlib import Path

import pytest

from app.stores.slots import MINUTE_SECONDS, NOTHING, PROBES, PUBLISHED, ROWS, SIZE, Count, Slot

NOW = 1000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "0"


def test_what_its_owner_writes_the_others_read(path: Path) -> None:
    own, others = Slot(path), Slot(path)
    assert (own.take(), others.take()) == (True, False)
    own.begin(7)
    own.write(5, Count(1.5, NOW, 2), NOW)
    assert (others.read(5), others.read(6), others.server, others.is_used) == (Count(1.5, NOW, 2), NOTHING, 7, True)
    own.write(5, Count(2.5, NOW + 1, 1), NOW)
    assert others.read(5) == Count(2.5, NOW + 1, 1)
    assert path.stat().st_mode & 0o777 == 0o600


def test_whoever_takes_it_next_begins_anew(path: Path) -> None:
    first, second = Slot(path), Slot(path)
    first.take()
    first.begin(7)
    first.write(5, Count(1.0, NOW, 1), NOW)
    first.publish(b"abc")
    first.close()
    assert second.take()
    assert (second.read(5), second.published()) == (Count(1.0, NOW, 1), b"abc")
    second.begin(8)
    assert (second.read(5), second.published(), second.server) == (NOTHING, b"", 8)
    second.clear()
    assert (second.is_used, second.server) == (False, 0)
    second.leave()
    assert Slot(path).take()


def test_keys_that_meet_in_a_row_are_told_apart(path: Path) -> None:
    slot = Slot(path)
    keys = [3 + ROWS * turn for turn in range(PROBES)]
    for number, key in enumerate(keys):
        slot.write(key, Count(number, NOW, 1), NOW)
    assert [slot.read(key).drawn for key in keys] == list(range(PROBES))
    one_too_many = 3 + ROWS * PROBES
    slot.write(one_too_many, Count(1.0, NOW, 1), NOW)
    assert slot.read(one_too_many) == NOTHING


def test_a_key_that_has_not_asked_for_long_makes_room(path: Path) -> None:
    slot = Slot(path)
    keys = [3 + ROWS * turn for turn in range(4)]
    for key in keys[:3]:
        slot.write(key, Count(1.0, NOW, int(key == keys[0])), NOW)
    late = NOW + MINUTE_SECONDS + 1
    slot.write(keys[2], Count(2.0, late, 0), late)  # where it was, although there is room before it
    slot.write(keys[3], Count(3.0, late, 0), late)
    assert [slot.read(key).drawn for key in keys] == [1.0, 0.0, 2.0, 3.0]
    slot.write(keys[1], Count(4.0, late, 0), late)
    assert [slot.read(key).drawn for key in keys] == [1.0, 4.0, 2.0, 3.0]


@pytest.mark.parametrize("key", [1, ROWS - 1, 2**64 - 1])
def test_any_key_has_a_place(path: Path, key: int) -> None:
    slot = Slot(path)
    slot.write(key, Count(1.0, NOW, 1), NOW)
    assert slot.read(key).running == 1


def test_what_is_published_is_read_whole_or_as_it_was(path: Path) -> None:
    own, reader = Slot(path), Slot(path)
    assert reader.published() == b""
    for content in (b"first" * 1000, b"second", b"", b"third"):
        own.publish(content)
        assert reader.published() == content
    with path.open("r+b") as file:
        file.seek(SIZE + PUBLISHED.size)
        file.write(b"!")  # as if it were just being written
    assert reader.published() == b"third"
    assert Slot(path).published() == b""


def test_another_format_is_nobodys(path: Path) -> None:
    path.write_bytes(b"\xff" * SIZE)
    slot = Slot(path)
    assert (slot.server, slot.is_used) == (0, True)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        Slot(tmp_path)
    fifo = Path("/dev/null")
    with pytest.raises(OSError, match="Invalid argument"):
        Slot(fifo)

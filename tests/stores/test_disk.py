from pathlib import Path

import pytest

from app.stores.disk import UNFINISHED, Disk, File, Reading


def test_a_file_is_found_as_it_was_written(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "not" / "yet")
    disk.write("name", b"data", 1234.5)
    assert disk.find("name") == File("name", 4, 1234.5)
    assert disk.files() == [File("name", 4, 1234.5)]
    assert disk.path("name").read_bytes() == b"data"


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    (tmp_path / "name").mkdir()  # no file can take its place
    with pytest.raises(OSError, match="directory"):
        disk.write("name", b"data", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["name"]
    assert disk.files() == []


def test_a_file_has_another_name_until_it_is_whole(tmp_path: Path) -> None:
    seen: list[str] = []

    class Watched(Disk):
        def path(self, name: str) -> Path:
            seen.append(name)
            return super().path(name)

    Watched(tmp_path).write("name", b"data", 0)
    assert UNFINISHED.fullmatch(seen[0])
    assert seen[1:] == ["name"]


def test_what_is_not_there_is_no_failure(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "removed")
    disk.remove("name")
    assert disk.find("name") is None
    assert disk.files() == []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return path


def test_a_file_is_read_to_its_end_after_its_removal(path: Path) -> None:
    reading = Reading(path, 2)
    assert reading.read(3) == b"234"
    path.unlink()
    assert reading.read(100) == b"56789"
    with pytest.raises(EOFError):
        reading.read(1)
    reading.close()


def test_a_removed_file_is_not_begun(path: Path) -> None:
    reading = Reading(path, 0)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        reading.read(1)
    reading.close()


def test_a_file_is_closed_once_its_thread_is_done(path: Path) -> None:
    reading = Reading(path, 0)
    reading.read(1)
    file = reading._file
    assert file
    with reading._at_work:  # as a thread that reads has it
        reading.close()
        assert not file.closed
    assert reading.read(1) == b"1"
    assert file.closed

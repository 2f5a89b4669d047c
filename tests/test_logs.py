import asyncio
import io
import logging
import sys
from collections.abc import Iterator

import orjson
import pytest

from app.logs import MOST_WAITING, PIECE_BYTES, JSONLines, Lines, configure, log_request, request_id


@pytest.fixture
def _undone() -> Iterator[None]:
    """Takes back what configure() changes, and shields from what other tests' servers have set up."""
    uvicorn = logging.getLogger("uvicorn")
    propagates, uvicorn.propagate = uvicorn.propagate, True
    root, server = logging.getLogger(), logging.getLogger("uvicorn.error")
    handlers, levels = root.handlers[:], (root.level, server.level)
    root.handlers.clear()  # configure() would close them
    yield
    uvicorn.propagate = propagates
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    server.setLevel(levels[1])


def test_a_line_is_json() -> None:
    record = logging.makeLogRecord({"msg": "started %s", "args": ("well",), "levelname": "INFO", "created": 0})
    record.fields = {"mode": "managed", "odd": {1}}
    assert orjson.loads(JSONLines().format(record)) == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "info",
        "event": "started well",
        "mode": "managed",
        "odd": "{1}",
    }


def test_an_exception_stands_in_its_line() -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        record = logging.makeLogRecord({"msg": "crash", "exc_info": sys.exc_info()})
    line = JSONLines().format(record)
    assert "\n" not in line
    assert orjson.loads(line)["exception"].endswith("ValueError: bad")


@pytest.mark.usefixtures("_undone")
@pytest.mark.parametrize(
    ("level", "lines"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)]
)  # of: debug, info, warning
def test_the_level_is_that_of_the_settings(capsys: pytest.CaptureFixture[str], level: str, lines: int) -> None:
    configure(level)
    logger = logging.getLogger("flarelay")
    for number in (logging.DEBUG, logging.INFO, logging.WARNING):
        logger.log(number, "said")
    logging.getLogger("uvicorn.error").info("Started server process")
    assert capsys.readouterr().out.count('"said"') == lines


@pytest.mark.usefixtures("_undone")
def test_the_servers_own_faults_are_logged_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info")
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    lines = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [(line["level"], line["event"]) for line in lines if line["event"] != "request"]  # of other tests' servers
    assert told == [("warning", "Invalid HTTP request received.")]


@pytest.mark.parametrize("given", [b"a", b"req_1:2.3-4", b"x" * 128])
def test_a_callers_request_id_is_kept(given: bytes) -> None:
    assert request_id(given) == given.decode()


@pytest.mark.parametrize("given", [None, b"", b"x" * 129, b"a b", b"a\nb", b"\xe9", b'a"b'])
def test_another_request_id_is_made(given: bytes | None) -> None:
    ids = {request_id(given), request_id(given)}
    assert len(ids) == 2
    assert all(len(each) == 24 for each in ids)


class Writes(io.StringIO):
    """Remembers what was written in one go."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.is_written = asyncio.Event()

    def write(self, text: str) -> int:
        self.pieces.append(text)
        self.is_written.set()
        return super().write(text)


def events(pieces: list[str]) -> list[str]:
    return [orjson.loads(line)["event"] for line in "".join(pieces).splitlines()]


@pytest.mark.anyio
async def test_lines_of_requests_are_written_together_after_a_moment() -> None:
    stream = Writes()
    lines = Lines(stream)
    for number in range(3):
        lines.put(logging.INFO, f"request {number}", lambda: {"odd": {1}})
    assert stream.pieces == []
    await stream.is_written.wait()
    (piece,) = stream.pieces
    assert [set(orjson.loads(line)) for line in piece.splitlines()] == [{"time", "level", "event", "odd"}] * 3
    assert events([piece]) == ["request 0", "request 1", "request 2"]


@pytest.mark.anyio
async def test_any_other_line_comes_at_once_and_behind_them() -> None:
    stream = Writes()
    lines = Lines(stream)
    lines.put(logging.INFO, "request", dict)
    lines.emit(logging.makeLogRecord({"msg": "crash", "levelname": "ERROR"}))
    assert events(stream.pieces) == ["request", "crash"]


@pytest.mark.anyio
async def test_many_lines_don_t_wait_and_come_whole_in_pieces_that_a_pipe_takes() -> None:
    stream = Writes()
    lines = Lines(stream)
    for number in range(MOST_WAITING):
        lines.put(logging.INFO, str(number), dict)
    assert len(stream.pieces) > 1
    assert all(len(piece) <= PIECE_BYTES and piece.endswith("\n") for piece in stream.pieces)
    assert events(stream.pieces) == [str(number) for number in range(MOST_WAITING)]


@pytest.mark.anyio
async def test_a_line_longer_than_a_piece_comes_alone() -> None:
    stream = Writes()
    lines = Lines(stream)
    for text in ("before", "x" * PIECE_BYTES, "after"):
        lines.put(logging.INFO, text, dict)
    lines.flush()
    assert [events([piece]) for piece in stream.pieces] == [["before"], ["x" * PIECE_BYTES], ["after"]]


@pytest.mark.anyio
async def test_an_output_that_is_closed_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    stream.close()
    lines = Lines(stream)
    lines.put(logging.INFO, "request", dict)
    lines.flush()
    assert "closed file" in capsys.readouterr().err


@pytest.mark.anyio
@pytest.mark.usefixtures("_undone")
async def test_a_request_goes_through_logging_where_others_listen(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    configure("info")
    log_request(logging.INFO, "request", lambda: {"status": 200})
    logging.getLogger().addHandler(caplog.handler)
    log_request(logging.INFO, "request", lambda: {"status": 201})
    told = [orjson.loads(line)["status"] for line in capsys.readouterr().out.splitlines() if '"status":20' in line]
    assert told == [200, 201]
    assert [record.__dict__["fields"] for record in caplog.records if record.name == "flarelay"] == [{"status": 201}]

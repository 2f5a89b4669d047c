import logging
import sys
from collections.abc import Iterator

import orjson
import pytest

from app.logs import JSONLines, configure, request_id


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

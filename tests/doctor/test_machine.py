"""What is wrong with the machine's clock, its disk, its port."""

import socket
import threading
from pathlib import Path

import pytest

from app.doctor.findings import Outcome
from app.doctor.machine import clock_finding, disk_finding, port_finding
from tests.doctor.api import ACTIVE, NOW, Api, examined, ok
from tests.serving import Cloudflare, flarelay

pytestmark = pytest.mark.anyio

EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound here
OK, WARNING, FAILED, UNKNOWN = Outcome.OK, Outcome.WARNING, Outcome.FAILED, Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("ahead", "outcome", "words"),
    [
        ([], UNKNOWN, "told the time"),
        ([0.4, -59.0], OK, "agrees"),
        ([3600.0, 3599.0], FAILED, "3599 s ahead of Cloudflare's. Days of limits"),
        ([-61.2], FAILED, "61 s behind"),
    ],
)
def test_a_clock_that_is_wrong_is_told(ahead: list[float], outcome: Outcome, words: str) -> None:
    assert clock_finding(ahead).outcome == outcome
    assert words in clock_finding(ahead).line()


async def test_the_clock_is_compared_with_cloudflares() -> None:
    found = await examined(Api(verify=ok(ACTIVE, date=NOW - 100), list=ok([], date=NOW - 90)))
    assert found["clock"].text == "it is 90 s ahead of Cloudflare's."


@pytest.mark.parametrize(
    ("free", "wanted", "outcome"),
    [(2**40, 2**31, OK), (2**30, 2**31, WARNING), (2**20, 0, FAILED), (100 * 2**20, 0, OK)],
)
def test_a_full_disk_is_told(free: int, wanted: int, outcome: Outcome) -> None:
    assert disk_finding(free, wanted).outcome == outcome


async def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    found = await examined(Api(), data_dir=file)
    assert found["DATA_DIR"].outcome == FAILED
    assert "Not a directory" in found["DATA_DIR"].text
    assert "disk" not in found


def is_empty(folder: Path) -> bool:
    return not list(folder.iterdir())


async def test_a_folder_that_is_to_be_made_is_not_made_yet(tmp_path: Path) -> None:
    found = await examined(Api(), data_dir=tmp_path / "a" / "b", wanted_bytes=2**60)
    assert found["DATA_DIR"].outcome == OK
    assert found["disk"].outcome == WARNING
    assert is_empty(tmp_path)


async def test_flarelay_itself_may_have_the_port(upstream: Cloudflare) -> None:
    with flarelay(upstream) as server:
        port = int(server.url.rpartition(":")[2])
        for host in ("127.0.0.1", EVERYWHERE):
            finding = await port_finding(host, port)
            assert finding.outcome == OK
            assert "is running there" in finding.text


def answer_once(listener: socket.socket, content: bytes) -> threading.Thread:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content))

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


@pytest.mark.parametrize("content", [b"Welcome to nginx!", b"[]", b'{"status": "ok"}'])
async def test_a_port_that_somebody_else_has_is_told(content: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = answer_once(listener, content)
        finding = await port_finding("127.0.0.1", listener.getsockname()[1])
        thread.join()
    assert finding.outcome == FAILED
    assert "Set PORT to another" in finding.remedy


async def test_a_port_that_breaks_off_is_somebody_elses() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:

        def hang_up() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        finding = await port_finding("::1", listener.getsockname()[1])
        thread.join()
    assert finding.outcome == FAILED


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
async def test_an_address_that_is_not_the_machines_is_told(host: str) -> None:
    finding = await port_finding(host, 8000)
    assert finding.outcome == FAILED
    assert "Set HOST" in finding.remedy

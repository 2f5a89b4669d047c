"""The process: `python -m app` as it starts, refuses to, and ends."""

import gc
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from app.__main__ import main
from tests.serving import CHAT, DEADLINE_SECONDS, KEY, TOKEN, Cloudflare, asked, payloads, scripted, written

CHAT_URL = "/v1/chat/completions"
ROOT = Path(__file__).parent.parent
SECRETS = (KEY, TOKEN)


class Process:
    """A running `python -m app`. `lines` are those of its standard output that were read so far."""

    def __init__(self, popen: "subprocess.Popen[str]", url: str) -> None:
        self.popen = popen
        self.url = url
        self.lines: list[str] = []

    def read_until(self, text: str) -> str:
        """The first line that holds `text`. A process that hangs is ended by the test's own deadline."""
        assert self.popen.stdout
        for line in self.popen.stdout:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"It ended without: {text}\n{''.join(self.lines)}")

    def stop(self) -> None:
        self.popen.send_signal(signal.SIGTERM)

    def end(self) -> tuple[int, str]:
        """After stop(): the exit code and what is left of the output."""
        output, _ = self.popen.communicate(timeout=DEADLINE_SECONDS)
        return self.popen.returncode, output


def start(**settings: str) -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR", "DATA_DIR")}
    return subprocess.Popen(
        [sys.executable, "-m", "app"],
        cwd=ROOT / "tests",  # where no `.env` lies
        env=environment | {"PYTHONPATH": str(ROOT), "NEURON_BUDGET": "0"} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that its workers can be ended with it
    )


@contextmanager
def ended(popen: "subprocess.Popen[str]") -> Iterator[None]:
    """Leaves nothing running behind the block, nor a block that waits for ever."""

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)

    timer = threading.Timer(DEADLINE_SECONDS, kill)
    timer.start()
    try:
        with popen:
            try:
                yield
            finally:
                kill()
    finally:
        timer.cancel()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(upstream: Cloudflare, *, workers: int = 1, **settings: str) -> Iterator[Process]:
    port = free_port()
    account = {"CLOUDFLARE_ACCOUNT_ID": "account1", "CLOUDFLARE_API_TOKEN": TOKEN, "API_KEYS": KEY}
    where = {"CLOUDFLARE_API_BASE_URL": upstream.url, "PORT": str(port), "WORKERS": str(workers)}
    process = Process(start(**account, **where, **settings), f"http://127.0.0.1:{port}")
    with ended(process.popen):
        for _ in range(workers):
            process.read_until('"event":"start"')
        yield process


@contextmanager
def client_of(process: Process) -> Iterator[httpx2.Client]:
    # the socket listens a moment after the line of the start; connecting is tried again until then
    transport = httpx2.HTTPTransport(retries=8)
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx2.Client(base_url=process.url, headers=headers, transport=transport, timeout=DEADLINE_SECONDS) as client:
        yield client


@pytest.mark.parametrize("workers", [1, 2])
def test_a_running_stream_may_finish(upstream: Cloudflare, workers: int) -> None:
    request = scripted(CHAT, {"text": "one two three four", "delay_ms": 100, "reasoning": ""}, stream=True)
    with running(upstream, workers=workers, SHUTDOWN_SECONDS="15") as process, client_of(process) as client:
        with client.stream("POST", CHAT_URL, json=request) as response:
            pieces = response.iter_text()
            text = next(pieces)
            process.stop()
            text += "".join(pieces)
        code, output = process.end()
    assert '"stream":true' in output  # its line, which is written a moment later
    assert written(payloads(text)) == "one two three four"
    assert text.endswith("data: [DONE]\n\n")
    assert code == 0


def test_an_endless_stream_is_cut_when_the_time_is_up(upstream: Cloudflare) -> None:
    request = scripted(CHAT, {"tokens": 100_000, "delay_ms": 50, "reasoning": ""}, stream=True)
    cancelled = upstream.emulator.cancelled_requests
    with running(upstream, SHUTDOWN_SECONDS="1") as process, client_of(process) as client:
        with client.stream("POST", CHAT_URL, json=request) as response:
            pieces = response.iter_text()
            text = next(pieces)
            process.stop()
            rest: list[str] = []
            with pytest.raises(httpx2.RemoteProtocolError):
                rest.extend(pieces)
        code, _ = process.end()
    text += "".join(rest)
    assert "[DONE]" not in text
    assert '"finish_reason":"' not in text
    assert code == 0
    assert upstream.emulator.cancelled_requests == cancelled + 1


def test_the_log_is_json_and_holds_nothing_secret(upstream: Cloudflare) -> None:
    with running(upstream) as process, client_of(process) as client:
        for request in (asked("a secret prompt"), asked("a secret prompt", stream=True), asked("a secret prompt", n=0)):
            client.post(CHAT_URL, json=request)
        client.post(CHAT_URL, content=b'{"a secret prompt')
        client.post(CHAT_URL, json=asked("a secret prompt"), headers={"authorization": "Bearer a-wrong-key"})
        client.get("/v1/models", params={"key": KEY})
        process.stop()
        code, output = process.end()
    assert code == 0
    banner, *lines = "".join([*process.lines, output]).splitlines()
    assert "calls run on your Cloudflare account account1" in banner
    parsed = [orjson.loads(line) for line in lines]
    assert all({"time", "level", "event"} <= set(line) for line in parsed)
    asked_for = [line for line in parsed if line["event"] == "request"]
    assert [line["status"] for line in asked_for] == [200, 200, 400, 400, 401, 200]
    assert len({line["request_id"] for line in asked_for}) == 6
    assert asked_for[1]["stream"] is True
    assert asked_for[0]["completion_tokens"] > 0
    assert len({line["caller"] for line in asked_for if "caller" in line}) == 1
    everything = banner + output
    assert not [word for word in (*SECRETS, "a-wrong-key", "secret prompt") if word in everything]


def test_two_workers_answer(upstream: Cloudflare) -> None:
    with running(upstream, workers=2) as process, client_of(process) as client:
        for _ in range(4):
            assert client.post(CHAT_URL, json=asked("Hello")).status_code == 200
        process.stop()
        code, output = process.end()
    assert code == 0
    assert "Traceback" not in output


def test_without_credentials_it_says_that_nothing_is_real() -> None:
    process = Process(start(PORT=str(free_port())), "")
    with ended(process.popen):
        banner = process.read_until("Flarelay")
        process.read_until('"event":"start"')
    assert "NO CLOUDFLARE ACCOUNT IS SET" in banner


MANAGED = {"CLOUDFLARE_ACCOUNT_ID": "account1", "CLOUDFLARE_API_TOKEN": TOKEN}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({**MANAGED, "HOST": "0.0.0.0"}, "HOST=0.0.0.0 .* Set API_KEYS .* or HOST=127.0.0.1"),  # noqa: S104
        ({"CLOUDFLARE_API_TOKEN": TOKEN}, "CLOUDFLARE_ACCOUNT_ID is not"),
        ({**MANAGED, "PORT": TOKEN}, "PORT: "),
        ({**MANAGED, "CLOUDFLARE_API_BASE_URL": TOKEN}, "CLOUDFLARE_API_BASE_URL: "),
        ({**MANAGED, "MODEL_ALIASES": TOKEN}, "model_aliases.* JSON"),
        ({**MANAGED, "MODEL_ALIASES": '{"mine": "nothing"}'}, "MODEL_ALIASES: 'mine' leads to no model"),
    ],
    ids=["open-relay", "no-account", "port", "url", "no-json", "no-model"],
)
def test_settings_that_cannot_be_used_are_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)  # where no `.env` lies
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as left:
        main()
    output = capsys.readouterr()
    assert left.value.code == 2
    assert re.search(words, output.err)
    assert output.err.count("\n") == 1
    assert TOKEN not in output.err + output.out


def test_nobody_runs_an_open_relay_by_accident() -> None:
    popen = start(HOST="0.0.0.0", **MANAGED)  # noqa: S104
    with ended(popen):
        output, _ = popen.communicate(timeout=DEADLINE_SECONDS)
    assert popen.returncode == 2
    assert "API_KEYS" in output
    assert "Traceback" not in output
    assert TOKEN not in output


@pytest.fixture
def _undone() -> Iterator[None]:
    """Takes back what main() changes in its process."""
    handler, mask = signal.getsignal(signal.SIGTERM), os.umask(0o022)
    root, server = logging.getLogger(), logging.getLogger("uvicorn.error")
    handlers, levels = root.handlers[:], (root.level, server.level)
    yield
    signal.signal(signal.SIGTERM, handler)
    os.umask(mask)
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    server.setLevel(levels[1])
    gc.unfreeze()


@pytest.mark.usefixtures("_undone")
@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
def test_the_first_line_says_where_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str, shown: str
) -> None:
    monkeypatch.chdir(tmp_path)
    family: Any = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as taken:  # so that the start itself fails
        monkeypatch.setenv("HOST", host)
        monkeypatch.setenv("PORT", str(taken.getsockname()[1]))
        with pytest.raises(SystemExit) as left:
            main()
    assert left.value.code == 3
    assert shown in capsys.readouterr().out.splitlines()[0]
    assert os.umask(0o077) == 0o077
    assert gc.isenabled()
    stop: Any = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        stop(signal.SIGTERM, None)
    assert left.value.code == 0

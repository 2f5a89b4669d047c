"""What Flarelay adds to embeddings: its time per vector, as a ratio to the upstream alone in the same run.

    python -m bench.embeddings                                starts a server on loopback and ends it again
    python -m bench.embeddings --url http://127.0.0.1:8000 --upstream-port 9000
                                                              measures one that runs and has that port as its upstream

The upstream is a process of this script that answers with canned vectors, so it costs little more than moving bytes.
"Upstream alone" sends it the very calls that Flarelay makes for the same texts, all at once. "Translator" is the work
in between without HTTP: reading the request and the replies, writing the answer. A flat cost shows in the last lines.
With `--model-ms 100` each call takes the time that a model needs, and the share that is Flarelay's own shows.
Absolute times say more about the machine than about the server, so there are none. It takes about half a minute.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from app.calls import Reply
from app.catalog import Catalog
from app.routes.bodies import validated
from app.schemas.embeddings import EmbeddingRequest
from app.translators.base import Context, Plan
from app.translators.embeddings import from_replies, to_plan

CATALOG = Catalog.load()
HOST = "127.0.0.1"
TEXT = "The quick brown fox jumps over the lazy dog, and number {} does it again."
COUNTS = (1, 100, 1000)
FORMATS = ("float", "base64")
VECTORS_PER_ROUND = 500
PATIENCE_SECONDS = 30

Work = Callable[[], Awaitable[object]]


class Upstream(asyncio.Protocol):
    """Workers AI, as far as a benchmark needs it: as many vectors as a call has texts."""

    dimensions = 1024
    seconds = 0.0
    """What a model would take for a call."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._received = bytearray()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = bytes(self._received).partition(b"\r\n\r\n")
        if end and len(body) == content_length(head):
            self._received.clear()
            texts = next(value for value in orjson.loads(body).values() if isinstance(value, list))
            assert isinstance(self._transport, asyncio.Transport)  # noqa: S101 - for the type checker
            reply = canned_reply(len(texts), self.dimensions)
            asyncio.get_running_loop().call_later(self.seconds, self._transport.write, reply)


@lru_cache
def canned_reply(count: int, dimensions: int) -> bytes:
    """Numbers as Cloudflare writes them: 32-bit floats with the digits of 64-bit ones."""
    noise = random.Random(dimensions)  # noqa: S311 - the same numbers in each run
    numbers = [noise.gauss(0, dimensions**-0.5) for _ in range(dimensions)]
    vector = orjson.dumps(struct.unpack(f"{dimensions}f", struct.pack(f"{dimensions}f", *numbers)))
    data = b",".join([vector] * count)
    result = b'{"shape":[%d,%d],"data":[%b],"pooling":"cls"}' % (count, dimensions, data)
    body = b'{"result":%b,"success":true,"errors":[],"messages":[]}' % result
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def content_length(head: bytes) -> int:
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name == b"content-length"), 0)


def serve_upstream(port: int, dimensions: int, seconds: float) -> None:
    """Until the process is ended."""

    async def serve() -> None:
        Upstream.dimensions, Upstream.seconds = dimensions, seconds
        server = await asyncio.get_running_loop().create_server(Upstream, HOST, port)
        await server.serve_forever()

    asyncio.run(serve())


class Client:
    """Posts to one server, over one connection for each request that is under way."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, path: str, body: bytes) -> bytes:
        streams = self._idle.pop() if self._idle else await asyncio.open_connection(HOST, self._port, limit=2**20)
        reader, writer = streams
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\nauthorization: Bearer bench\r\ncontent-type: application/json\r\n"
        )
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer_head = await reader.readuntil(b"\r\n\r\n")
        answer = await reader.readexactly(content_length(answer_head))
        if b" 200 " not in answer_head[:15]:
            raise SystemExit(f"POST {path}: {answer_head.splitlines()[0].decode()} {answer[:500].decode()}")
        self._idle.append(streams)
        return answer


@dataclass(frozen=True)
class Case:
    """One size and format, with the work of everyone who takes part."""

    count: int
    encoding_format: str
    upstream: Work
    translator: Work
    flarelay: Work


def the_case(count: int, encoding_format: str, model: str, upstream: Client, flarelay: Client) -> Case:
    fields = {"model": model, "input": [TEXT.format(i) for i in range(count)], "encoding_format": encoding_format}
    body = orjson.dumps(fields)
    plan = planned(body, model)
    calls = [(f"/accounts/bench/ai/{call.path}", orjson.dumps(call.body)) for call in plan.calls]
    replies = [canned_reply(len(texts), dimensions_of(model)).partition(b"\r\n\r\n")[2] for texts in plan.reading]

    async def alone() -> None:
        await asyncio.gather(*(upstream.post(path, sent) for path, sent in calls))

    async def translate() -> None:
        plan = planned(body, model)
        orjson.dumps(from_replies(plan, [Reply(orjson.loads(reply)["result"]) for reply in replies])[0])

    async def through() -> None:
        await flarelay.post("/v1/embeddings", body)

    return Case(count, encoding_format, alone, translate, through)


def dimensions_of(model: str) -> int:
    return CATALOG.resolve(model).embedding_dimensions or Upstream.dimensions


def planned(body: bytes, model: str) -> Plan[EmbeddingRequest]:
    context = Context(CATALOG.resolve(model), model, id="bench", created=0)
    return to_plan(validated(EmbeddingRequest, body), context)


async def measured(case: Case, rounds: int, vectors: int) -> tuple[float, float, float]:
    """Microseconds per vector: upstream alone, translator, Flarelay. Turn by turn, so that noise hits all alike."""
    works = (case.upstream, case.translator, case.flarelay)
    times: tuple[list[float], ...] = ([], [], [])
    repeats = max(1, vectors // case.count)
    for _ in range(rounds + 1):
        for work, found in zip(works, times, strict=True):
            started = time.perf_counter()
            for _ in range(repeats):
                await work()
            found.append((time.perf_counter() - started) / repeats / case.count * 1e6)
    upstream, translator, flarelay = (statistics.median(found[1:]) for found in times)  # the first one warms up
    return upstream, translator, flarelay


async def run(model: str, rounds: int, vectors: int, upstream_port: int, port: int) -> None:
    upstream, flarelay = Client(upstream_port), Client(port)
    row = CATALOG.resolve(model)
    say(f"{model}: {row.embedding_dimensions} dimensions, {row.max_batch} texts in a call; upstream alone = 1.00")
    say(f"{'texts':>6} {'format':>7} {'upstream':>9} {'translator':>11} {'flarelay':>9}")
    per_vector = {}
    for encoding_format in FORMATS:
        for count in COUNTS:
            case = the_case(count, encoding_format, model, upstream, flarelay)
            alone, translator, through = await measured(case, rounds, vectors)
            per_vector[encoding_format, count] = through
            ratios = f"{1:>9.2f} {translator / alone:>11.2f} {through / alone:>9.2f}"
            say(f"{count:>6} {encoding_format:>7} {ratios}")
    for encoding_format in FORMATS:
        ratio = per_vector[encoding_format, 1000] / per_vector[encoding_format, 100]
        say(f"{encoding_format}: a vector among 1,000 takes {ratio:.2f} times as long as one among 100")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextmanager
def canned_upstream(port: int, dimensions: int, seconds: float) -> Iterator[None]:
    arguments = (port, dimensions, seconds)
    process = multiprocessing.get_context("spawn").Process(target=serve_upstream, args=arguments, daemon=True)
    process.start()
    try:
        wait_for(port)
        yield
    finally:
        process.terminate()
        process.join()


@contextmanager
def flarelay_server(upstream_port: int) -> Iterator[int]:
    """The port of a server of our own, which knows no settings but these."""
    port = free_port()
    settings = {
        "PORT": str(port),
        "CLOUDFLARE_ACCOUNT_ID": "bench",
        "CLOUDFLARE_API_TOKEN": "bench",
        "CLOUDFLARE_API_BASE_URL": f"http://{HOST}:{upstream_port}",
        "LOG_LEVEL": "warning",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path[1:]]),
    }
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "app"]
        process = subprocess.Popen(command, cwd=folder, env=settings, stdout=subprocess.DEVNULL)  # noqa: S603 - ours
        try:
            wait_for(port)
            yield port
        finally:
            process.terminate()
            process.wait()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"Nothing listens on port {port}.")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help=f"a server that runs on {HOST}; default: one is started")
    parser.add_argument("--upstream-port", type=int, default=0, help="where the canned upstream listens; default: any")
    parser.add_argument("--model", default="text-embedding-3-small")
    parser.add_argument("--model-ms", type=float, default=0, help="what a call takes upstream; default: only its bytes")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    vectors = 3 if options.model_ms else VECTORS_PER_ROUND
    url = urlsplit(options.url or "")
    if options.url and (url.hostname != HOST or not url.port):
        parser.error(f"--url must be http://{HOST}:<port>: this benchmark loads nothing but loopback")
    upstream_port = options.upstream_port or free_port()
    with canned_upstream(upstream_port, dimensions_of(options.model), options.model_ms / 1000):
        if options.url:
            asyncio.run(run(options.model, options.rounds, vectors, upstream_port, url.port or 0))
            return
        with flarelay_server(upstream_port) as port:
            asyncio.run(run(options.model, options.rounds, vectors, upstream_port, port))


if __name__ == "__main__":
    main()

"""`python -m app.emulator --port N`: the emulator as a server of its own, for benchmarks and for looking around."""

import argparse
from collections.abc import Sequence

import uvicorn

from app.emulator.app import create_emulator
from app.emulator.options import Options


def make_server(arguments: Sequence[str] | None = None) -> uvicorn.Server:
    """A server that is ready to `run()`, or to `serve()` on a running loop."""
    parser = argparse.ArgumentParser(
        prog="python -m app.emulator", description="Answers as Cloudflare Workers AI does."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8787, help="port to listen on (%(default)s)")
    parser.add_argument("--latency-ms", type=float, default=0, help="before every answer (%(default)s)")
    parser.add_argument("--token-ms", type=float, default=0, help="before every event of a stream (%(default)s)")
    given = parser.parse_args(arguments)
    options = Options(latency_seconds=given.latency_ms / 1000, token_seconds=given.token_ms / 1000, kept_requests=0)
    return uvicorn.Server(
        uvicorn.Config(
            create_emulator(options), host=given.host, port=given.port, access_log=False, lifespan="off", ws="none"
        )
    )


if __name__ == "__main__":  # pragma: no cover - a process of its own; its test asks it over a socket
    make_server().run()

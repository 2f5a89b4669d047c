"""Protocol: a connection of a client. uvicorn's own, but for the exchanges on it and the timer between them."""

import asyncio
from collections import deque
from functools import lru_cache, partial
from typing import Any, NamedTuple
from urllib.parse import unquote
from weakref import WeakKeyDictionary

import httptools
from starlette.types import ASGIApp, Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.alarm import Alarm
from app.server.exchange import Exchange
from app.server.starts import Starts
from app.server.writes import Writes

LARGEST_HEAD = 64 * 1024
"""Bytes. The parser collects headers, and trailers, without an end."""
MOST_WAITING = 8
"""Requests of a client that does not wait for its answers. Further ones stay in the network."""
LONGEST_KEPT = 100
"""Bytes of a request's target that is taken apart only once."""


class Protocol(HttpToolsProtocol):
    """For uvicorn's `http`. It knows neither WebSockets nor a limit of connections nor an access log."""

    cycle: Exchange | None  # type: ignore[assignment] # the one that the parser fills; it may be waiting for its turn

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._answering: ASGIApp = config.loaded_app
        self._starts, self._writes = _shared(config, self.loop)
        self._idle = Alarm(self.timeout_keep_alive_handler)
        self._headed_bytes = 0
        """Since something that was no part of a head, or of trailers."""
        self._running: Exchange | None = None
        self._waiting: deque[tuple[Exchange, Scope]] = deque()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        self._idle.cancel()
        self.flow.resume_writing()
        if self._running:
            self._running.leave()
        self._waiting.clear()
        self.cycle = self._running = None
        self.parser = None  # type: ignore[assignment] # it holds on to this object, and this to it; so does the timer
        del self._idle
        if exc is None:
            self.transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle.set(self.timeout_keep_alive)

    def data_received(self, data: bytes) -> None:
        self._headed_bytes += len(data)
        super().data_received(data)
        if self._headed_bytes > LARGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("The request's headers are too large.")

    def _unset_keepalive_if_required(self) -> None:
        """Not at every byte: half a head is not to hold a connection for ever. `_start` does."""

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        parser = self.parser
        version = parser.get_http_version()
        known = _target if len(self.url) <= LONGEST_KEPT else _target.__wrapped__
        target = known(self.root_path, self.url)
        method = parser.get_method().decode("ascii")
        scope: Scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": method,
            "root_path": self.root_path,
            "path": target.path,
            "raw_path": target.raw_path,
            "query_string": target.query,
            "headers": self.headers,
            "state": self.app_state.copy(),
        }
        self._headed_bytes = 0
        self.headers = []  # for trailers, which are not to pass for headers
        exchange = self.cycle = Exchange(
            method,
            self.loop,
            self.transport,
            self.flow,
            self._writes,
            self.server_state.default_headers,
            self._next,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            expects_continue=self.expect_100_continue,
        )
        if self._running is None:
            self._start(exchange, scope)
        else:
            self._waiting.append((exchange, scope))
            if len(self._waiting) >= MOST_WAITING:
                self.flow.pause_reading()

    def on_body(self, body: bytes) -> None:
        self._headed_bytes = 0
        if self.cycle and not self.cycle.response_complete:
            self.cycle.add(body)

    def on_message_complete(self) -> None:
        self._headed_bytes = 0
        if self.cycle and not self.cycle.response_complete:
            self.cycle.end()
        else:
            self._idle.set(self.timeout_keep_alive)

    def send_400_response(self, msg: str) -> None:
        if self._running and self._running.response_started:
            self.transport.close()  # in the middle of a response it would be taken for a part of it
        else:
            super().send_400_response(msg)

    def shutdown(self) -> None:
        """The server stops: there is to be no request after those that are here."""
        last = self._waiting[-1][0] if self._waiting else self._running
        if last:
            last.keep_alive = False
        else:
            self.transport.close()

    def _start(self, exchange: Exchange, scope: Scope) -> None:
        self._running = exchange
        self._idle.set(None)
        self._starts.add(partial(self._run, exchange, scope))

    def _run(self, exchange: Exchange, scope: Scope) -> None:
        task = self.loop.create_task(exchange.run(self._answering, scope))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _next(self) -> None:
        """A response is complete."""
        self.server_state.total_requests += 1
        self._running = None
        if self.transport.is_closing():
            return
        if len(self._waiting) <= MOST_WAITING:
            self.flow.resume_reading()
        if self._waiting:
            self._start(*self._waiting.popleft())
        else:
            self._idle.set(self.timeout_keep_alive)


_all_shared: WeakKeyDictionary[Config, tuple[Starts, Writes]] = WeakKeyDictionary()


def _shared(config: Config, loop: asyncio.AbstractEventLoop) -> tuple[Starts, Writes]:
    """What all connections share of the server that has the configuration."""
    shared = _all_shared.get(config)
    if shared is None:
        shared = _all_shared[config] = Starts(loop), Writes(loop)
    return shared


class Target(NamedTuple):
    """What a request is for, as ASGI has it."""

    path: str
    raw_path: bytes
    query: bytes


@lru_cache(maxsize=256)
def _target(root_path: str, url: bytes) -> Target:
    """`url` may be a whole URL."""
    if url[:1] == b"/" and b"#" not in url:
        path, _, query = url.partition(b"?")
    else:
        parsed = httptools.parse_url(url)
        path, query = parsed.path or b"/", parsed.query or b""
    return Target(root_path + unquote(path.decode("ascii")), root_path.encode("ascii") + path, query)


OPTIONS: dict[str, Any] = {
    "http": Protocol,
    "ws": "none",
    "access_log": False,  # Record has a line for each request
    "log_config": None,
    "proxy_headers": False,  # TRUST_FORWARDED says whom to believe
    "server_header": False,
    "timeout_keep_alive": 75,  # longer than the proxies in front, so that they close first
}
"""What uvicorn is to be told, wherever it serves us."""

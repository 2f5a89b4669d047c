"""Costs that grow with the work: CPU time per byte of requests and answers from small to large, which should stay flat.

    python -m bench.growth                    everything: about a minute
    python -m bench.growth messages stream    the series whose names hold one of these words

One server runs in this process, without sockets, over an upstream that costs nothing: what is timed is the way from the
request's bytes to the answer's, with validation, translation, accounts, ledger and store. A size is tried several times
and the best time counts. The verdict is on the last step of a series, from the largest size but one to the largest:
smaller ones are mostly what any request costs. If five times the work costs as much a byte, it grows as the input does;
if it costs five times as much, with its square. A series that comes nearer to the second than to the first (the square
root of five lies halfway) is not flat, and the benchmark ends with 1.
"""

import asyncio
import gc
import math
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson

from app.catalog import Catalog
from app.main import create_app
from app.settings import Settings

LEAST_SECONDS = 0.15
LEAST_TRIES = 3
PIECE = 2**16
"""Bytes that a request or an answer comes in at a time, as from a socket."""

KEPT = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31)}
"""Make glibc keep the memory of large bodies. Otherwise it goes back to the kernel after each, and is taken again page
by page: from some megabytes on that costs two to four times what the code does, and hides how that one grows."""

MODELS = list(Catalog.load())
CHAT_MODELS = {
    "native": "gpt-4",
    "openai": "gpt-4o-mini",
    "alternating": next(model.id for model in MODELS if model.quirks.turns == "alternating"),
    "told its tools": next(
        model.id
        for model in MODELS
        if model.task == "text-generation" and model.quirks.turns == "free" and not model.can("function-calling")
    ),
}
"""One for each way that conversations are written in."""

Body = dict[str, Any]
Answer = list[bytes]


@dataclass(frozen=True)
class Case:
    """One request, with what the upstream answers to it."""

    path: str
    body: Body
    answer: Answer | None = None
    """Pieces of a body; None for a short text."""


@dataclass(frozen=True)
class Series:
    """`case` makes the request of one size."""

    name: str
    sizes: tuple[int, ...]
    case: Callable[[int], Case]


class Pieces(httpx2.AsyncByteStream):
    def __init__(self, pieces: Answer) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    async def aclose(self) -> None:
        return


class Upstream(httpx2.AsyncBaseTransport):
    """Answers what it is set to. The time it takes itself is told apart."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.received = 0
        self.sent = 0
        self.spent_seconds = 0.0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        began = time.process_time()
        content = await request.aread()
        kind = "application/json"
        pieces = self.answer
        if pieces is None:
            pieces = [short_answer(request.url.path, content)]
        elif pieces[0].startswith(b"data:"):
            kind = "text/event-stream"
        self.received += len(content)
        self.sent += sum(map(len, pieces))
        self.spent_seconds += time.process_time() - began
        return httpx2.Response(200, headers={"content-type": kind}, stream=Pieces(pieces))


def short_answer(path: str, content: bytes) -> bytes:
    if "chat/completions" in path:
        return orjson.dumps(completion("Hello."))
    texts = orjson.loads(content).get("text")
    if texts is None:
        return orjson.dumps(enveloped({"response": "Hello.", "usage": usage()}))
    vector = b"[" + b",".join([b"0.0123456789"] * 1024) + b"]"
    result = b'{"shape":[%d,1024],"data":[%b]}' % (len(texts), b",".join([vector] * len(texts)))
    return b'{"result":%b,"success":true,"errors":[],"messages":[]}' % result


def enveloped(result: Body) -> Body:
    return {"result": result, "success": True, "errors": [], "messages": []}


def usage() -> Body:
    return {"prompt_tokens": 20, "completion_tokens": 4, "total_tokens": 24}


def completion(text: str) -> Body:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "bench", "object": "chat.completion", "created": 1, "choices": [choice], "usage": usage()}


def chunk(delta: Body, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return b"data: " + orjson.dumps({"id": "bench", "object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"


def words(size: int) -> str:
    """A text of about so many bytes."""
    line = "The quick brown fox jumps over the lazy dog, and so on. "
    return (line * (size // len(line) + 1))[:size]


# What clients send


def chat(model: str, turns: list[Body], **further: Any) -> Case:
    return Case("/v1/chat/completions", {"model": CHAT_MODELS[model], "messages": turns, **further})


def user(text: str) -> Body:
    return {"role": "user", "content": text}


def conversation(count: int) -> list[Body]:
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": f"{i}. {words(200)}"} for i in range(count - 1)] + [user("And now?")]


def schema(number: int) -> Body:
    fields = {f"field_{i}": {"type": "string", "description": words(60)} for i in range(5)}
    return {
        "name": f"tool_{number}",
        "description": words(100),
        "schema": {"type": "object", "properties": fields, "required": ["field_0"]},
    }


def chat_tools(count: int) -> list[Body]:
    described = (schema(i) for i in range(count))
    return [
        {
            "type": "function",
            "function": {
                "name": each["name"],
                "description": each["description"],
                "parameters": each["schema"],
            },
        }
        for each in described
    ]


def responses_tools(count: int) -> list[Body]:
    return [{"type": "function", **tool["function"]} for tool in chat_tools(count)]


def messages_tools(count: int) -> list[Body]:
    described = (schema(i) for i in range(count))
    return [
        {"name": each["name"], "description": each["description"], "input_schema": each["schema"]} for each in described
    ]


def agent_chat(count: int) -> list[Body]:
    """An agent's: each call of a tool, and what came of it."""
    turns: list[Body] = [user("Do it.")]
    for i in range(count // 2):
        function = {"name": f"tool_{i % 10}", "arguments": orjson.dumps({"field_0": words(100)}).decode()}
        called: Body = {"role": "assistant", "content": None}
        turns.append(called | {"tool_calls": [{"id": f"call_{i}", "type": "function", "function": function}]})
        turns.append({"role": "tool", "tool_call_id": f"call_{i}", "content": words(200)})
    return turns


def legacy_chat(count: int) -> list[Body]:
    """The same in OpenAI's older form, whose results name a function and no call."""
    turns: list[Body] = [user("Do it.")]
    for i in range(count // 2):
        function = {"name": f"tool_{i}", "arguments": orjson.dumps({"field_0": words(100)}).decode()}
        turns.append({"role": "assistant", "content": None, "function_call": function})
    return turns + [{"role": "function", "name": f"tool_{i}", "content": words(200)} for i in range(count // 2)]


def agent_responses(count: int) -> list[Body]:
    items: list[Body] = [user("Do it.")]
    for i in range(count // 2):
        called: Body = {"type": "function_call", "call_id": f"call_{i}", "name": f"tool_{i % 10}"}
        items.append(called | {"arguments": orjson.dumps({"field_0": words(100)}).decode()})
        items.append({"type": "function_call_output", "call_id": f"call_{i}", "output": words(200)})
    return items


def agent_messages(count: int) -> list[Body]:
    turns: list[Body] = [user("Do it.")]
    for i in range(count // 2):
        called = {"type": "tool_use", "id": f"toolu_{i}", "name": f"tool_{i % 10}", "input": {"field_0": words(100)}}
        turns.append({"role": "assistant", "content": [called]})
        result = {"type": "tool_result", "tool_use_id": f"toolu_{i}", "content": words(200)}
        turns.append({"role": "user", "content": [result]})
    return turns


def responses(given: str | list[Body], **further: Any) -> Case:
    return Case("/v1/responses", {"model": CHAT_MODELS["openai"], "input": given, **further})


def messages(turns: list[Body], **further: Any) -> Case:
    return Case("/v1/messages", {"model": CHAT_MODELS["openai"], "max_tokens": 500, "messages": turns, **further})


def embeddings(count: int, encoding_format: str) -> Case:
    texts = [f"{i}. {words(100)}" for i in range(count)]
    return Case(
        "/v1/embeddings", {"model": "text-embedding-3-small", "input": texts, "encoding_format": encoding_format}
    )


# What the upstream answers


def in_pieces(data: bytes) -> Answer:
    return [data[start : start + PIECE] for start in range(0, len(data), PIECE)]


def answered(case: Case, data: bytes) -> Case:
    return Case(case.path, case.body, in_pieces(data))


def streamed(case: Case, events: list[bytes], *, at_once: bool) -> Case:
    """All events in pieces as large as a socket gives, or each by itself."""
    done = [*events, chunk({}, "stop"), b"data: [DONE]\n\n"]
    return Case(case.path, case.body | {"stream": True}, in_pieces(b"".join(done)) if at_once else done)


def texts(count: int) -> list[bytes]:
    return [chunk({"content": f" word{i % 100}"}) for i in range(count)]


def arguments(count: int) -> list[bytes]:
    """One call of a tool whose arguments come in so many pieces."""
    opening = {"index": 0, "id": "call_0", "type": "function", "function": {"name": "tool_0", "arguments": '{"a": "'}}
    pieces = [{"index": 0, "function": {"arguments": f"word{i % 100}}} "}} for i in range(count)]
    closing = {"index": 0, "function": {"arguments": '"}'}}
    return [chunk({"tool_calls": [each]}) for each in (opening, *pieces, closing)]


def calls(count: int) -> list[bytes]:
    """So many calls of tools, each in one piece."""
    function = {"name": "tool_0", "arguments": orjson.dumps({"field_0": words(60)}).decode()}
    return [
        chunk({"tool_calls": [{"index": i, "id": f"call_{i}", "type": "function", "function": function}]})
        for i in range(count)
    ]


ASK = [user("Say something.")]
TOOLS = (1, 10, 100, 500)
TURNS = (2, 200, 2000, 10_000)
BYTES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 20_000_000)
TEXTS = (1, 10, 100, 1000)
EVENTS = (10, 100, 1000, 10_000)

ROUTES: dict[str, dict[str, Callable[[int], Case]]] = {
    "chat": {
        "tools": lambda n: chat("openai", ASK, tools=chat_tools(n)),
        "messages": lambda n: chat("openai", conversation(n)),
        "agent's messages": lambda n: chat("openai", agent_chat(n), tools=chat_tools(10)),
        "bytes": lambda n: chat("openai", [user(words(n))]),
        "answer's bytes": lambda n: answered(chat("openai", ASK), orjson.dumps(completion(words(n)))),
        "stream": lambda n: streamed(chat("openai", ASK), texts(n), at_once=False),
        "stream, at once": lambda n: streamed(chat("openai", ASK), texts(n), at_once=True),
        "streamed arguments": lambda n: streamed(
            chat("openai", ASK, tools=chat_tools(1)), arguments(n), at_once=False
        ),
        "streamed calls": lambda n: streamed(chat("openai", ASK, tools=chat_tools(1)), calls(n), at_once=False),
    },
    "responses": {
        "tools": lambda n: responses(ASK, tools=responses_tools(n)),
        "messages": lambda n: responses(conversation(n)),
        "agent's messages": lambda n: responses(agent_responses(n), tools=responses_tools(10)),
        "bytes": lambda n: responses(words(n)),
        "answer's bytes": lambda n: answered(responses(ASK), orjson.dumps(completion(words(n)))),
        "stream": lambda n: streamed(responses(ASK), texts(n), at_once=False),
        "stream, at once": lambda n: streamed(responses(ASK), texts(n), at_once=True),
        "streamed arguments": lambda n: streamed(
            responses(ASK, tools=responses_tools(1)), arguments(n), at_once=False
        ),
        "streamed calls": lambda n: streamed(responses(ASK, tools=responses_tools(1)), calls(n), at_once=False),
    },
    "messages": {
        "tools": lambda n: messages(ASK, tools=messages_tools(n)),
        "messages": lambda n: messages(conversation(n)),
        "agent's messages": lambda n: messages(agent_messages(n), tools=messages_tools(10)),
        "bytes": lambda n: messages([user(words(n))]),
        "answer's bytes": lambda n: answered(messages(ASK), orjson.dumps(completion(words(n)))),
        "stream": lambda n: streamed(messages(ASK), texts(n), at_once=False),
        "stream, at once": lambda n: streamed(messages(ASK), texts(n), at_once=True),
        "streamed arguments": lambda n: streamed(messages(ASK, tools=messages_tools(1)), arguments(n), at_once=False),
        "streamed calls": lambda n: streamed(messages(ASK, tools=messages_tools(1)), calls(n), at_once=False),
    },
    "chat, native model": {
        "tools": lambda n: chat("native", ASK, tools=chat_tools(n)),
        "messages": lambda n: chat("native", conversation(n)),
        "agent's messages": lambda n: chat("native", agent_chat(n), tools=chat_tools(10)),
        "bytes": lambda n: chat("native", [user(words(n))]),
    },
    "chat, alternating turns": {
        "messages": lambda n: chat("alternating", conversation(n)),
        "messages of one side": lambda n: chat("alternating", [user(words(200))] * n),
        "agent's messages": lambda n: chat("alternating", agent_chat(n)),
    },
    "chat, tools in the prompt": {
        "tools": lambda n: chat("told its tools", ASK, tools=chat_tools(n)),
        "agent's messages": lambda n: chat("told its tools", agent_chat(n), tools=chat_tools(10)),
    },
    "chat, older functions": {"agent's messages": lambda n: chat("openai", legacy_chat(n))},
    "chat, many parts": {
        "messages": lambda n: chat("openai", [{"role": "user", "content": [{"type": "text", "text": words(200)}] * n}])
    },
    "chat, many systems": {
        "messages": lambda n: chat("openai", [{"role": "system", "content": words(200)}] * n + ASK),
    },
    "chat, stop words": {
        "stream": lambda n: streamed(chat("openai", ASK, stop=["never said"]), texts(n), at_once=False),
        "answer's bytes": lambda n: answered(chat("openai", ASK, stop=["!"]), orjson.dumps(completion(words(n)))),
    },
    "embeddings, float": {"texts": lambda n: embeddings(n, "float")},
    "embeddings, base64": {"texts": lambda n: embeddings(n, "base64")},
}  # fmt: skip
SIZES = {"tools": TOOLS, "messages": TURNS, "bytes": BYTES, "texts": TEXTS}


def series() -> Iterator[Series]:
    for route, kinds in ROUTES.items():
        for kind, case in kinds.items():
            sizes = next((sizes for name, sizes in SIZES.items() if name in kind), EVENTS)
            yield Series(f"{route}: {kind}", sizes, case)


# Measuring


class Server:
    """The application and what it is joined to."""

    def __init__(self, folder: str) -> None:
        self.upstream = Upstream()
        settings = Settings(
            _env_file=None,
            data_dir=folder,
            log_level="warning",
            api_keys="one",
            neuron_budget=0,
            response_cache="none",
            cloudflare_account_id="bench",
            cloudflare_api_token="bench",  # noqa: S106 - made up
        )
        self.app = create_app(settings, transport=self.upstream)

    async def ask(self, path: str, body: bytes) -> int:
        """The size of the answer, in bytes. SystemExit if it is not 200."""
        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer one"), (b"content-type", b"application/json"), (b"host", b"bench")],
            "http_version": "1.1",
            "scheme": "http",
        }
        pieces = in_pieces(body)
        given = iter(
            [
                {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
                for number, piece in enumerate(pieces, 1)
            ]
        )
        status, size, fault = 0, 0, b""

        async def receive() -> Any:
            if (message := next(given, None)) is None:
                await asyncio.Event().wait()  # the client stays
            return message

        async def send(message: Any) -> None:
            nonlocal status, size, fault
            status = message.get("status", status)
            size += len(message.get("body", b""))
            fault = message.get("body", b"") if status != 200 or b'"error"' in message.get("body", b"")[:99] else fault

        await self.app(scope, receive, send)
        if status != 200 or fault:
            raise SystemExit(f"POST {path}: {status} {fault[:500].decode()}")
        return size

    async def cost(self, case: Case) -> tuple[float, int]:
        """CPU seconds of the best try, and the bytes that went in and out on both sides."""
        body, self.upstream.answer = orjson.dumps(case.body), case.answer
        found: list[float] = []
        size = 0
        while len(found) < LEAST_TRIES or sum(found) < LEAST_SECONDS:
            self.upstream.received = self.upstream.sent = 0
            began, apart = time.process_time(), self.upstream.spent_seconds
            out = await self.ask(case.path, body)
            found.append(time.process_time() - began - (self.upstream.spent_seconds - apart))
            size = len(body) + out + self.upstream.received + self.upstream.sent
        return min(found), size


async def flat(server: Server, each: Series) -> bool:
    """Prints a line a size. Whether a byte costs in the end what it costs one size before."""
    say(f"\n{each.name}\n{'size':>12} {'bytes':>12} {'ms':>10} {'ns/byte':>9} {'x before':>9}")
    before = ratio = float("nan")
    bound = math.sqrt(each.sizes[-1] / each.sizes[-2])
    for size in each.sizes:
        seconds, length = await server.cost(each.case(size))
        per_byte = seconds / length * 1e9
        ratio, before = per_byte / before, per_byte
        say(f"{size:>12,} {length:>12,} {seconds * 1e3:>10.2f} {per_byte:>9.1f} {ratio:>9.2f}")
    say("flat" if ratio <= bound else "GROWS FASTER THAN THE INPUT")
    return ratio <= bound


async def run(wanted: list[str]) -> bool:
    """Whether all series are flat."""
    chosen = [each for each in series() if not wanted or any(word in each.name for word in wanted)]
    with tempfile.TemporaryDirectory() as folder:
        server = Server(folder)
        async with AsyncExitStack() as running:
            await running.enter_async_context(server.app.router.lifespan_context(server.app))
            gc.freeze()  # as the server does
            verdicts = {each.name: await flat(server, each) for each in chosen}
    grows = [name for name, is_flat in verdicts.items() if not is_flat]
    say(f"\n{len(chosen) - len(grows)} of {len(chosen)} series are flat" + "".join(f"\nnot: {name}" for name in grows))
    return not grows


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    if not KEPT.keys() <= os.environ.keys():  # the allocator reads them when a process starts
        os.execve(sys.executable, [sys.executable, "-m", "bench.growth", *sys.argv[1:]], os.environ | KEPT)  # noqa: S606 - this very script
    sys.exit(0 if asyncio.run(run(sys.argv[1:])) else 1)


if __name__ == "__main__":
    main()

"""What the canned upstream says: the bytes of each answer, in Cloudflare's native shape and in OpenAI's.

Both upstreams, the one in C and the one in Python, send exactly these.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import orjson

EVENTS = {"burst": 500, "paced": 50}
"""Events of a stream: all in one write, or one every 10 ms."""

PACE_SECONDS = 0.01

USAGE = {"prompt_tokens": 212, "completion_tokens": 133, "total_tokens": 345}
TEXT = " ".join(f"word{number:03}" for number in range(100))


@dataclass(frozen=True)
class Wire:
    """One shape. A paced stream is `head`, then `event` as often as it has events, then `end`."""

    whole: bytes
    head: bytes
    event: bytes
    end: bytes
    burst: bytes

    def save(self, folder: Path, prefix: str) -> None:
        for field in fields(self):
            (folder / f"{prefix}.{field.name}").write_bytes(getattr(self, field.name))


def chunk(data: bytes) -> bytes:
    """In HTTP's chunked transfer coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def sse(body: dict[str, Any]) -> bytes:
    return chunk(b"data: %b\n\n" % orjson.dumps(body))


def wire(whole: dict[str, Any], event: dict[str, Any], last: dict[str, Any]) -> Wire:
    body = orjson.dumps(whole)
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    end = sse(last) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    return Wire(answer, head, sse(event), end, head + sse(event) * EVENTS["burst"] + end)


def native() -> Wire:
    """Workers AI's own. Source: Cloudflare's docs, Workers AI, the schemas of its text generation models."""
    whole = {"result": {"response": TEXT, "usage": USAGE}, "success": True, "errors": [], "messages": []}
    return wire(whole, {"response": " word", "p": "abcdefghijklmnopqrstuvwxyz"}, {"response": "", "usage": USAGE})


def openai() -> Wire:
    """OpenAI's, for gateways that are asked to speak to an OpenAI server."""
    about = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": "bench"}
    turn = {"role": "assistant", "content": TEXT}
    choice = {"index": 0, "message": turn, "logprobs": None, "finish_reason": "stop"}
    piece = {"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}
    last = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    chunks = about | {"object": "chat.completion.chunk"}
    return wire(
        about | {"object": "chat.completion", "choices": [choice], "usage": USAGE},
        chunks | {"choices": [piece]},
        chunks | {"choices": [last]},
    )


WIRES = {"native": native(), "openai": openai()}

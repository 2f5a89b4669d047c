"""The two ends of an ASGI application, played by a test."""

import asyncio
from collections.abc import Iterable

from starlette.types import Message

DISCONNECT: Message = {"type": "http.disconnect"}


class Client:
    """Sends `messages`, then nothing until `leave()`; keeps what it `got`."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._messages = list(messages)
        self._has_left = asyncio.Event()
        self.got: list[Message] = []

    async def receive(self) -> Message:
        if self._messages:
            return self._messages.pop(0)
        await self._has_left.wait()
        return DISCONNECT

    async def send(self, message: Message) -> None:
        self.got.append(message)

    def leave(self) -> None:
        self._has_left.set()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.got)


def piece(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}

"""LeakCatcher: finds the tool calls that a model wrote into its text, which its upstream should have found.

Only calls to tools that the request offered are taken. What is no such call, is broken, or never ends comes out
byte for byte, but for the white space around a call. What we decided on the way:

1. White space before a leak at the head of an answer and after any leak is dropped, so that an answer of calls only
   has no text.
2. A JSON object that begins like a call (`leak_formats.whole_reply`) is held to the end of the answer, since only as
   the whole of it is it a call; every other is passed on at once.
3. The markers of harmony, without a call in them, are taken for gpt-oss's own at the head of an answer only, where
   no text has come yet; further down they are text.
4. Nothing is held longer than `leak_scanner.LIMIT` characters, and an answer with many near misses is about tool calls:
   no more are looked for.
"""

import re
from collections.abc import Collection

from app.translators.deltas import Text, Thought, ToolCall
from app.translators.leak_calls import Gate
from app.translators.leak_formats import FORMATS, Parse, Parser, whole_reply
from app.translators.leak_scanner import Scanner, Wait

SUSPECT = re.compile(r"<(?:t(?:o|\Z)|f(?:u|\Z)|\||\Z)|\[(?:T|\Z)")
"""How every opening in FORMATS begins, or may begin at the end of a piece."""
MAX_MISSES = 32

Caught = list[Text | Thought | ToolCall]


class LeakCatcher:
    """Text in, cut anywhere; text, calls and (from harmony's channels) thoughts out.

    Every ToolCall is a whole one, with compact JSON of an object for its arguments, and the id that the model gave
    it, if any. `forced` is what `tool_choice` said: the name of a tool, True for `required`.
    """

    def __init__(self, tools: Collection[str], *, forced: str | bool | None = None) -> None:
        self._gate = Gate.of(tools, forced)
        self._scanner = Scanner()
        self._misses = 0
        self._call_count = 0
        self._is_idle = False
        """Nothing is held, and the head of the answer is over."""
        self._steps: Parse = self._search()

    def feed(self, text: str) -> Caught:
        if self._is_idle and (("<" not in text and "[" not in text) or not SUSPECT.search(text)):
            return [Text(text)] if text else []
        if not self._gate.names:
            return [Text(text)] if text else []
        self._scanner.add(text)
        return self._step()

    def close(self) -> Caught:
        """The text is over: what was held back of it."""
        self._scanner.is_over = True
        return self._step()

    def _step(self) -> Caught:
        caught: Caught = []
        for delta in self._steps:
            if delta is None:
                break
            if isinstance(delta, ToolCall):
                delta = delta._replace(call_index=self._call_count)
                self._call_count += 1
            caught.append(delta)
        return caught

    def _search(self) -> Parse:
        scanner = self._scanner
        lead = yield from scanner.space()
        if (yield from self._try(whole_reply)):
            return True
        while not scanner.is_empty or (yield from self._more()):
            if (yield from self._try(self._marked)):
                yield from scanner.space()
            else:
                yield Text(lead + self._free_text())
            lead = ""
        if lead:
            yield Text(lead)
        return True

    def _try(self, parser: Parser) -> Parse:
        self._scanner.begin()
        start = self._scanner.at
        is_leak = yield from parser(self._scanner, self._gate)
        if not is_leak:
            self._scanner.at = start
        return is_leak

    def _marked(self, scanner: Scanner, gate: Gate) -> Parse:
        opening = (yield from scanner.one_of(FORMATS)) if self._misses < MAX_MISSES else None
        if not opening:
            return False
        is_leak = yield from FORMATS[opening](scanner, gate)
        self._misses += not is_leak
        return is_leak

    def _free_text(self) -> str:
        scanner = self._scanner
        scanner.is_head = False
        suspect = SUSPECT.search(scanner.text, scanner.at + 1)
        return scanner.read(suspect.start() if suspect else len(scanner.text))

    def _more(self) -> Wait[bool]:
        """Wait for text with nothing held; whether any came."""
        self._scanner.begin()
        self._is_idle = True
        while self._scanner.is_empty and not self._scanner.is_over:
            yield
        self._is_idle = False
        return not self._scanner.is_empty

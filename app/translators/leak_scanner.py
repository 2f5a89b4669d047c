"""Scanner: reads a text that is still arriving, for parsers written as if all of it were there.

Every reading method is a generator: it yields None where it needs more text to decide, and returns its result.
A method that decided would decide the same whatever follows, so it does not matter how the text was cut.
"""

import re
from collections.abc import Collection, Generator
from typing import TypeAlias, TypeVar

Result = TypeVar("Result")
Wait: TypeAlias = Generator[None, None, Result]

LIMIT = 256 * 1024
"""Characters that a parser may look ahead; the text is over for it after that, so that no leak holds up more."""
SHORT = 200
"""Characters to the end of a name or of a header."""

SPACE = re.compile(r"\s*")
WORD = re.compile(r"[^\s<>{}\[\]\"]*")
BETWEEN = re.compile(r"[\s,:\d.+\-Etruefalsn]*")  # what JSON may hold outside of strings and brackets
BRACKETS = {"{": 1, "[": 1, "}": -1, "]": -1}
STRING = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)


class Scanner:
    """The text from `at` on is unread. `begin` starts a leak; setting `at` goes back within it."""

    def __init__(self) -> None:
        self.text = ""
        self.at = 0
        self.is_over = False
        """No text will be added."""
        self.is_head = True
        """Nothing but white space and leaks was read so far."""
        self._stop = LIMIT

    @property
    def is_empty(self) -> bool:
        return self.at == len(self.text)

    @property
    def is_done(self) -> bool:
        """The whole text is read and over; certain where a reading method has just looked for more."""
        return self.is_over and self.is_empty

    @property
    def end(self) -> int:
        return min(len(self.text), self._stop)

    def add(self, text: str) -> None:
        self.text += text

    def begin(self) -> None:
        """Forget what was read, and look ahead from here."""
        if self.is_empty or self.at > LIMIT:  # not for every few characters of a long text: it is a copy
            self.text = self.text[self.at :]
            self.at = 0
        self._stop = self.at + LIMIT

    def read(self, end: int) -> str:
        """The text up to `end`, at once."""
        start, self.at = self.at, end
        return self.text[start:end]

    def wait(self) -> Wait[bool]:
        """Whether there is more text."""
        if self.is_over or len(self.text) >= self._stop:
            return False
        yield
        return True

    def space(self) -> Wait[str]:
        """All white space from here on."""
        return (yield from self._run(SPACE))

    def word(self) -> Wait[str]:
        """All characters up to white space, a bracket or a quote."""
        return (yield from self._run(WORD))

    def sees(self, literals: Collection[str]) -> Wait[str | None]:
        """The literal that is next, not read; none may be the beginning of another."""
        while True:
            for literal in literals:
                if self.text.startswith(literal, self.at, self.end):
                    return literal
            start = self.text[self.at : min(self.end, self.at + SHORT)]
            if not any(literal.startswith(start) for literal in literals) or not (yield from self.wait()):
                return None

    def one_of(self, literals: Collection[str]) -> Wait[str | None]:
        """The literal that is next, read."""
        seen = yield from self.sees(literals)
        self.at += len(seen or "")
        return seen

    def take(self, literal: str) -> Wait[bool]:
        """Whether the literal is next; if so, it is read."""
        return (yield from self.one_of((literal,))) is not None

    def until(self, literal: str, within: int = LIMIT) -> Wait[str | None]:
        """The text before the literal, both read; None if it does not come `within` that many characters."""
        start = looked = self.at
        last = start + within + len(literal)
        while True:
            end = min(self.end, last)
            found = self.text.find(literal, looked, end)
            if found >= 0:
                self.at = found + len(literal)
                return self.text[start:found]
            if end == last or not (yield from self.wait()):
                return None
            looked = max(start, end - len(literal) + 1)

    def string(self) -> Wait[str | None]:
        """The source of the JSON string that begins here, quotes included."""
        start = self.at
        if not (yield from self.take('"')):
            return None
        while True:
            self._skip(STRING)
            if self._peek() == '"':
                self.at += 1
                return self.text[start : self.at]
            if not (yield from self.wait()):
                self.at = start
                return None

    def json(self) -> Wait[str | None]:
        """The source of the JSON object or array that begins here; None if none does, or it has no end."""
        start = self.at
        depth = 1 if (yield from self.one_of("{[")) else 0
        while depth:
            self._skip(BETWEEN)
            mark = self._peek()
            if mark in BRACKETS:
                depth += BRACKETS[mark]
                self.at += 1
            elif mark == '"' and (yield from self.string()):
                continue
            elif mark or not (yield from self.wait()):
                self.at = start
                return None
        return self.text[start : self.at] or None

    def _run(self, pattern: re.Pattern[str]) -> Wait[str]:
        start = self.at
        while True:
            self._skip(pattern)
            if self.at < self.end or not (yield from self.wait()):
                return self.text[start : self.at]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.at, self.end)
        self.at = found.end() if found else self.at

    def _peek(self) -> str:
        return self.text[self.at] if self.at < self.end else ""

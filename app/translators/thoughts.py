"""ThoughtSplitter: tells the thoughts of a model from its answer, where both come in one text.

What no document says, and we decided:

1. The tags are `<think>` and `<thinking>`, in any case, and count at the head of the answer only. A later tag is
   text: a model may write about tags. A thought ends with the tag of its own name.
2. White space before the opening tag is dropped, and the run of line breaks directly after either tag; the rest
   is byte for byte what the model wrote.
3. A tagged thought that never ends stays a thought.
"""

import re
from typing import Literal

from app.translators.deltas import Text, Thought

OPENING = re.compile(r"\s*<(think|thinking)>", re.IGNORECASE)
CLOSING = {tag: re.compile(f"</{tag}>", re.IGNORECASE) for tag in ("think", "thinking")}
LINE_BREAKS = "\r\n"


def split_thoughts(text: str, finish_reason: str | None, *, untagged: bool) -> list[Text | Thought]:
    """A whole answer at once, which, unlike a stream, never shows an answer as a thought first."""
    splitter = ThoughtSplitter(untagged)
    deltas = splitter.feed(text)
    rest = splitter.close(finish_reason)
    return rest if splitter.was_answer else deltas + rest


class ThoughtSplitter:
    """Text in, cut anywhere; thoughts and answer out. Only what may be the beginning of a tag is held back.

    With `untagged` (QwQ and the R1 distillates, whose prompt may end with the opening tag) the text starts inside
    a thought, up to `</think>`; an opening tag is dropped if there is one. If the end never comes, the finish
    reason decides: with `length` the model was still thinking; otherwise the whole text was the answer after all
    and comes out as Text at the close. A stream has then shown it twice, as Thought and as Text;
    `split_thoughts` leaves the first away.
    """

    def __init__(self, untagged: bool) -> None:
        self._untagged = untagged
        self._stage: Literal["head", "thought", "answer"] = "head"
        self._tag = "think"
        self._is_after_tag = untagged
        self._held = ""
        self._unclosed: list[str] = []
        self.was_answer = False
        """What came out as Thought was the answer, and came out again as Text."""

    @property
    def is_over(self) -> bool:
        """Nothing but the answer will come, as it is."""
        return self._stage == "answer" and not self._is_after_tag

    def feed(self, text: str) -> list[Text | Thought]:
        if self.is_over:
            return [Text(text)] if text else []
        if self._untagged and self._stage != "answer":
            self._unclosed.append(text)
        if self._stage == "thought" and not self._is_after_tag and not self._held and "<" not in text:
            return [Thought(text)] if text else []
        return self._split(self._flush() + text)

    def close(self, finish_reason: str | None) -> list[Text | Thought]:
        """The text is over: what was held back of it, or all of it if it was no thought."""
        if self._untagged and self._stage != "answer" and finish_reason != "length":
            return self._take_back()
        held = self._flush()
        if not held:
            return []
        return [Thought(held) if self._untagged or self._stage == "thought" else Text(held)]

    def _split(self, text: str) -> list[Text | Thought]:
        deltas: list[Text | Thought] = []
        if self._stage == "head":
            text = self._pass_opening(text)
        if self._stage == "thought":
            thought, text = self._pass_closing(self._without_line_breaks(text))
            deltas += [Thought(thought)] if thought else []
        if self._stage == "answer":
            text = self._without_line_breaks(text)
            deltas += [Text(text)] if text else []
        return deltas

    def _pass_opening(self, text: str) -> str:
        opening = OPENING.match(text)
        if opening:
            self._tag = opening[1].lower()
            self._stage = "thought"
            self._is_after_tag = True
            return text[opening.end() :]
        if "<thinking>".startswith(text.lstrip().lower()):  # every beginning of `<think>` is one of `<thinking>`
            self._held = text
            return ""
        self._stage = "thought" if self._untagged else "answer"
        return text

    def _pass_closing(self, text: str) -> tuple[str, str]:
        """The thought as far as it is sure, and what follows its end."""
        closing = CLOSING[self._tag].search(text)
        if closing:
            self._stage = "answer"
            self._is_after_tag = True
            return text[: closing.start()], text[closing.end() :]
        end = text.rfind("<")
        if end < 0 or not f"</{self._tag}>".startswith(text[end:].lower()):
            return text, ""
        self._held = text[end:]
        return text[:end], ""

    def _without_line_breaks(self, text: str) -> str:
        if self._is_after_tag and text:
            text = text.lstrip(LINE_BREAKS)
            self._is_after_tag = not text
        return text

    def _take_back(self) -> list[Text | Thought]:
        text = "".join(self._unclosed)
        opening = OPENING.match(text)
        if opening:
            text = text[opening.end() :].lstrip(LINE_BREAKS)
        self.was_answer = True
        return [Text(text)] if text else []

    def _flush(self) -> str:
        held, self._held = self._held, ""
        return held

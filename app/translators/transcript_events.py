"""Transcripts as events, for `stream: true`: the text of each piece as it comes, and the whole at the end.

Source: OpenAI's API reference, transcript.text.delta, .segment and .done. The deltas add up to the text, byte by byte.
"""

from typing import Any

import orjson

from app.calls import Usage
from app.translators.base import Plan
from app.translators.transcript_formats import Speakers, diarized_segment, usage_of
from app.translators.transcripts import Heard, Hearing, Transcript, joint, transcript


class TranscriptEvents:
    """Parts, in their order, -> the bytes of an event stream."""

    def __init__(self, plan: Plan[Any]) -> None:
        hearing: Hearing = plan.reading
        self._plan = plan
        self._has_speakers = hearing.response_format == "diarized_json"
        self._speakers = Speakers()
        self._parts: list[Heard] = []
        self._last = ""
        self._segment_count = 0

    def feed(self, part: Heard) -> bytes:
        """What to send of a part; nothing of silence."""
        self._parts.append(part)
        if not part.text:
            return b""
        delta = {"type": "transcript.text.delta", "delta": joint(self._last, part.text) + part.text}
        self._last = part.text
        return _event(delta) + b"".join(self._segments(part))

    def _segments(self, part: Heard) -> list[bytes]:
        if not self._has_speakers:
            return []
        first = self._segment_count
        self._segment_count += len(part.segments)
        return [_event(diarized_segment(i, segment, self._speakers)) for i, segment in enumerate(part.segments, first)]

    def end(self) -> bytes:
        """The last event. The stream has no `[DONE]`."""
        whole = self.transcript
        return _event({"type": "transcript.text.done", "text": whole.text, "usage": usage_of(whole)})

    @property
    def transcript(self) -> Transcript:
        return transcript(self._plan, self._parts)

    @property
    def usage(self) -> Usage:
        return self.transcript.usage


def _event(event: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))

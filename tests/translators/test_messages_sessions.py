"""Long sessions of agents: whatever comes in goes upstream, whole and in order, and costs the same for each turn."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.catalog import Model, Quirks
from app.translators.turns import WORD_JOINER
from tests.translators.chats import CHAT, NATIVE
from tests.translators.test_messages import plan

PLAIN = replace(CHAT, capabilities=frozenset({"streaming", "vision"}))
ALTERNATING = replace(NATIVE, capabilities=frozenset({"streaming"}), quirks=Quirks(turns="alternating"))
MODELS = {"native": CHAT, "emulated": PLAIN, "alternating": ALTERNATING}

MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
URI = "data:image/png;base64,iVBORw0KGgo="
AWKWARD = (
    URI, f"see {URI} and {URI}", "", " ", "\n\n", "null", '{"a": [1, "é"]}', "</tool_response>", "<tool_call>",
    "\u2028", "<system-reminder>", "\N{GRINNING FACE}", "\\", "\x00", "x" * 5000,
)  # fmt: skip
IDS = ("call_0", "call_1", "toolu_1", "call_0_2", "", None)

WORDS = st.sampled_from(AWKWARD) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
KIND = st.sampled_from(["text", "use", "result", "thinking", "redacted", "novelty", "null", "string"])
SESSIONS = st.lists(
    st.tuples(st.sampled_from(["user", "assistant", "system"]), st.lists(st.tuples(KIND, WORDS), max_size=4)),
    max_size=12,
)


class Session:
    """A conversation, in which everything that is said has a number, and what of it must go upstream."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.said: list[tuple[int, str, str]] = []
        """The number of the part of the conversation between two changes of the speaker; the kind; the words."""
        self._part = 0
        self._calls: set[str] = set()
        self._is_assistant = False

    def add(self, role: str, blocks: list[tuple[str, str]], *, number: int = 0) -> None:
        if (role == "assistant") != self._is_assistant:
            self._is_assistant = role == "assistant"
            self._part += 1
        made = [self._block(kind, words, role, (number + i) % len(IDS)) for i, (kind, words) in enumerate(blocks)]
        is_string = len(made) == 1 and isinstance(made[0], str)
        self.messages.append({"role": role, "content": made[0] if is_string else [self._boxed(each) for each in made]})

    def _boxed(self, block: Any) -> dict[str, Any]:
        return {"type": "text", "text": block} if isinstance(block, str) else block

    def _block(self, kind: str, words: str, role: str, call: int) -> Any:
        said = f"«{len(self.said)}:{words}»"
        if kind == "use" and role == "assistant":
            self._say("call", said)
            self._calls.add(IDS[call] or "")
            return {"type": "tool_use", "id": IDS[call], "name": f"tool_{call}", "input": {"said": said}} | MARK
        if kind == "result" and role == "user":
            self._say("result" if (IDS[call] or "") in self._calls else "result of nothing", said)
            content: Any = said if call % 2 else [{"type": "text", "text": said} | MARK]
            return {"type": "tool_result", "tool_use_id": IDS[call], "content": content, "is_error": not call} | MARK
        if kind == "thinking":
            if role == "assistant":
                self._say("thought", said)
            return {"type": "thinking", "thinking": said, "signature": "c2ln" * 50}
        if kind == "redacted":
            return {"type": "redacted_thinking", "data": "ZGF0YQ==" * 50}
        if kind == "null":
            return {"type": "text", "text": None}
        if kind == "novelty":
            said = f"«{len(self.said)}»"
            self._say("text", said)
            return {"type": "unheard_of_20300101", "what": said} | MARK
        self._say("text", said)
        return said if kind == "string" else {"type": "text", "text": said, "citations": None} | MARK

    def _say(self, kind: str, words: str) -> None:
        self.said.append((self._part, kind, words))


def strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings_in(each)


def check(session: Session, model: Model, **fields: Any) -> None:
    """All that was said stands upstream once, in order as far as a chat can keep it, and nothing else of it does."""
    (call,) = plan(model, *session.messages, **fields).calls
    upstream = "\n".join(strings_in(call.body["messages"])).replace(WORD_JOINER, "")
    has_thoughts = model.input_shape == "chat-completions"
    places: dict[str, int] = {}
    parts: list[tuple[int, int]] = []
    for part, kind, words in session.said:
        if kind == "thought" and not has_thoughts:
            continue
        shown = orjson.dumps({"said": words}).decode() if kind == "call" else words
        assert upstream.count(shown) == 1, words
        place = upstream.index(shown)
        parts.append((place, part))
        if kind != "result" or model is CHAT:  # where they are texts, they stand in the order of the round's calls
            assert place > places.get(f"{part}{kind}", -1), words
        places[f"{part}{kind}"] = place
    assert [part for _, part in sorted(parts)] == sorted(part for _, part in parts)
    for secret in ("ephemeral", "c2ln", "ZGF0YQ=="):
        assert secret not in upstream
    made = [call for turn in call.body["messages"] for call in turn.get("tool_calls", ())]
    assert len({each["id"] for each in made}) == len(made)


@pytest.mark.parametrize("name", MODELS)
@given(messages=SESSIONS)
@settings(deadline=None)
def test_nothing_is_lost_and_nothing_changes_its_place(name: str, messages: list[Any]) -> None:
    session = Session()
    session.add("user", [("text", "Start")])
    for number, (role, blocks) in enumerate(messages):
        session.add(role, blocks, number=number)
    check(session, MODELS[name])


def long_session(rounds: int) -> Session:
    """An agent at work: thoughts, parallel calls whose ids come again, huge and failed results, reminders."""
    session = Session()
    session.add("user", [("text", "Start"), ("string", "Now.")])
    for number in range(rounds):
        words = AWKWARD[number % len(AWKWARD)]
        session.add("assistant", [("thinking", words), ("redacted", ""), ("text", words), ("use", words)])
        session.add("assistant", [("use", words), ("null", "")], number=4)
        session.add("user", [("text", words), ("result", words), ("result", words)], number=number)
        if not number % 7:
            session.add("system", [("string", words)])
            session.add("user", [("result", "far from its call"), ("novelty", "")], number=number)
    session.add("user", [("string", "So?")])
    session.add("assistant", [("string", "The answer is")])
    return session


EVERYTHING: dict[str, Any] = {
    "system": [{"type": "text", "text": "Be an agent."} | MARK],
    "tools": [
        {"name": f"tool_{i}", "input_schema": {"type": "object"}, "defer_loading": True} | MARK for i in range(6)
    ],
    "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
    "mcp_servers": [{"type": "url", "url": "https://host/mcp", "name": "s"}],
    "container": {"id": "c", "skills": []},
    "service_tier": "auto",
    "thinking": {"type": "adaptive"},
    "metadata": {"user_id": "session"},
    "stream": True,
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_hundreds_of_turns(model: Model) -> None:
    session = long_session(250)
    assert len(session.messages) > 750
    check(session, model, **EVERYTHING)
    assert plan(CHAT, *session.messages, **EVERYTHING).ignored == (
        "thinking", "context_management", "mcp_servers", "container", "service_tier"
    )  # fmt: skip


def test_huge_results_stay_whole() -> None:
    session = Session()
    session.add("user", [("text", "Read.")])
    for number in range(10):
        session.add("assistant", [("use", ""), ("use", "")], number=number)
        session.add("user", [("result", f"{URI}\n" * 6000), ("result", "é" * 100_000)], number=number)
    for model in MODELS.values():
        check(session, model)


def lines_run(work: Callable[[], object]) -> int:
    """The lines of Python that a piece of work takes: what it costs, without a clock."""
    count = 0

    def trace(_frame: Any, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_work_grows_with_the_turns_and_no_faster(model: Model) -> None:
    short, long = long_session(50).messages, long_session(400).messages
    plan(model, *short)  # what is made only once, such as patterns
    per_turn = lines_run(lambda: plan(model, *short)) / len(short)
    assert lines_run(lambda: plan(model, *long)) / len(long) < per_turn * 1.1

"""The tasks text generation and moderation: check the run, answer it, write the answer in the model's dialect."""

from typing import Any

from app.emulator.answers import Answer, answer_to
from app.emulator.chat_input import check_chat
from app.emulator.chat_output import chunks, completion
from app.emulator.meters import Meters
from app.emulator.moderation import check_conversation
from app.emulator.native_input import check_native
from app.emulator.native_output import native_frames, native_result
from app.emulator.pictures import check_pictures, check_texts
from app.emulator.prompts import Part, check_context, prompt_parts
from app.emulator.replies import EVENTS, Reply
from app.emulator.responses_input import as_chat, speaks_responses
from app.emulator.responses_output import response
from app.emulator.results import fail_as_wanted, scripted, whole_reply
from app.emulator.run import Run
from app.emulator.streams import events
from app.emulator.tokens import Usage


def run_text(run: Run, meters: Meters) -> Reply:
    """Raises the Fault that Workers AI answers the body with, or the one its script asks for."""
    return _answered(as_chat(run) if speaks_responses(run) else run, meters)


def run_responses(run: Run, meters: Meters) -> Reply:
    """The same on the path that takes nothing else."""
    return _answered(as_chat(run), meters)


def _answered(run: Run, meters: Meters) -> Reply:
    parts = _checked(run)
    fail_as_wanted(run)
    answer = answer_to(run)
    usage = _usage(run, answer, parts, meters)
    meters.charge(run.account, usage.neurons)
    is_stream = run.wants_stream and not run.quirks & {"json-for-stream", "empty-json-for-stream"}
    return scripted(run, _stream(run, answer, usage) if is_stream else _whole(run, answer, usage))


def _checked(run: Run) -> list[Part]:
    """The parts of a prompt that is in order."""
    if run.takes_openai:
        check_chat(run)
    else:
        check_native(run)
    if run.model.task == "moderation":
        check_conversation(run)
    check_pictures(run)
    if "picture-in-text" in run.quirks:
        check_texts(run)
    parts = prompt_parts(run)
    check_context(run, sum(part.tokens for part in parts))
    return parts


def _usage(run: Run, answer: Answer, parts: list[Part], meters: Meters) -> Usage:
    prompt, completion = sum(part.tokens for part in parts), answer.completion_tokens
    cached = 0
    if run.affinity and "prompt-caching" in run.model.capabilities:
        cached = sum(part.tokens for part in meters.remembered((run.account, run.model.id, run.affinity), parts))
    neurons = run.model.neurons(prompt, completion, cached) or 0.0
    return Usage(prompt, completion, cached, len(answer.reasoning), round(neurons, 6))


def _stream(run: Run, answer: Answer, usage: Usage) -> Reply:
    frames = chunks(run, answer, usage) if run.gives_openai else native_frames(run, answer, usage)
    content_type = None if "no-content-type" in run.quirks else EVENTS
    pause = run.script.delay_ms / 1000
    return Reply(events(run, frames, usage), content_type=content_type, pause_seconds=pause)


def _whole(run: Run, answer: Answer, usage: Usage) -> Reply:
    result: Any = completion(run, answer, usage) if run.gives_openai else native_result(run, answer, usage)
    if run.is_response:
        result = response(run, answer, usage)
    if run.wants_stream and "empty-json-for-stream" in run.quirks:
        result = {}
    return whole_reply(run, result, usage.neurons)

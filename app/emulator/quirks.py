"""What the real service does beside what it documents, by name, so that each oddity can be switched alone."""

from collections.abc import Iterable
from typing import NamedTuple

from app.emulator.faults import bad_input


class Quirk(NamedTuple):
    meaning: str
    source: str


_SDK = "cloudflare/ai, its own readers work around it"
_THREADS = "reported in public threads"
_VLLM = "vLLM's habit, reported in public threads"
_TYPES = "@cloudflare/workers-types"
_DOCS = "Cloudflare's docs"

QUIRKS = {
    # events of a stream
    "padding": Quirk("`p`, a text of varying length, on the events of a stream", _THREADS),
    "usage-frame": Quirk('`{"response":"","usage":…}` before the end of an OpenAI-shaped stream of ai/run', _SDK),
    "zero-usage": Quirk("an all-zero `usage` on the chunk with the finish_reason", _THREADS),
    "repeat-usage": Quirk("`usage` so far on every event", _SDK),
    "no-usage": Quirk("no `usage` anywhere", _THREADS),
    "null-response": Quirk("native events whose `response` is null or absent among the others", _SDK),
    "numeric-response": Quirk("text that is a number arrives as a JSON number", _SDK),
    "double-response": Quirk("a chunk of ai/run repeats its text as top-level `response`", _SDK),
    "late-finish": Quirk("the finish_reason comes on the usage chunk", _THREADS),
    "repeat-finish": Quirk("the finish_reason comes on several chunks", _THREADS),
    "no-finish": Quirk("no chunk has a finish_reason", _THREADS),
    "repeat-role": Quirk("every delta carries the role", _THREADS),
    "no-role": Quirk("no delta carries the role", _THREADS),
    "bare-frames": Quirk("chunks without id, object, created and model", _THREADS),
    "changing-ids": Quirk("every chunk has another id and time", _THREADS),
    # bytes of a stream
    "no-done": Quirk("the stream ends without [DONE]", _THREADS),
    "double-done": Quirk("two [DONE]", _THREADS),
    "crlf": Quirk("lines end in CRLF", _THREADS),
    "no-space": Quirk("`data:` without the space after it", _THREADS),
    "comments": Quirk("comment lines between events", _THREADS),
    "broken-frame": Quirk("one event more, whose JSON stops in the middle", _THREADS),
    "no-content-type": Quirk("a stream that doesn't say it is one", _SDK),
    "json-for-stream": Quirk("`stream:true` is answered with the whole answer as JSON", _SDK),
    "empty-json-for-stream": Quirk("`stream:true` is answered with JSON that holds no answer", _SDK),
    # tool calls
    "null-finaliser": Quirk("a native stream closes each tool call with an element of nulls", _SDK),
    "null-ids": Quirk("later pieces of a tool call carry `id`, `type` and `name` as null", _SDK),
    "same-tool-ids": Quirk("parallel tool calls share one id", _SDK),
    "missing-index": Quirk("pieces of a tool call carry no index", _SDK),
    "arguments-first": Quirk("the first piece of a tool call holds arguments, the name follows", _SDK),
    "flat-tool-frames": Quirk("a native stream holds each tool call flat and complete", _SDK),
    "object-arguments": Quirk("OpenAI-shaped tool calls hold their arguments as an object", _THREADS),
    "string-arguments": Quirk("native tool calls hold their arguments as a string", _SDK),
    "nested-tool-calls": Quirk("native tool calls are `{id,type,function}`, arguments still an object", _TYPES),
    "stop-after-tools": Quirk("the finish_reason beside tool calls is `stop`", _SDK),
    "prose-for-required": Quirk('`tool_choice:"required"` is answered with prose', _THREADS),
    "space-beside-tools": Quirk('the content beside tool calls is `" "`', _THREADS),
    "empty-beside-tools": Quirk('the content beside tool calls is `""`', _THREADS),
    # whole answers
    "unenveloped": Quirk("ai/run answers without the envelope", "cloudflare/ai, its adapters for the gateway host"),
    "state-envelope": Quirk('the result is `{"state":"Completed","result":…}`', _DOCS),
    "string-result": Quirk("the native result is a bare string", _TYPES),
    "model-length": Quirk("the finish_reason is `model_length` where OpenAI says `length`", _THREADS),
    "null-finish": Quirk("the finish_reason of a whole answer is null", _THREADS),
    "vllm-fields": Quirk("`token_ids`, `kv_transfer_params` and `service_tier` beside OpenAI's fields", _VLLM),
    "reasoning-field": Quirk("thoughts come in `reasoning`, not in `reasoning_content`", _DOCS),
    "hidden-thoughts": Quirk("thoughts cost tokens and are not told", _THREADS),
    "reasoning-tokens": Quirk("`completion_tokens_details.reasoning_tokens` in the usage", _TYPES),
    "think-tags": Quirk("thoughts come as <think>…</think> at the head of the text", _THREADS),
    "stringified-json-mode-object": Quirk("the native answer in JSON mode is text, not an object", _THREADS),
    "json-object-content": Quirk("the OpenAI-shaped content in JSON mode is an object", _THREADS),
    "json-mode-unmet": Quirk("JSON mode answers 200 with the text `JSON Mode couldn't be met`", _DOCS),
    # other tasks
    "floats-for-base64": Quirk("ai/v1/embeddings ignores `encoding_format` instead of refusing base64", _THREADS),
    "logits": Quirk("scores of contexts are raw logits, not within 0 and 1", _DOCS),
    "garbled-verdict": Quirk("a moderation model answers with prose", _THREADS),
    "jpeg-for-png": Quirk("a picture is JPEG where PNG is announced", _THREADS),
    "silence-refused": Quirk("nova-3 refuses a recording in which nobody speaks as corrupt (3030)", _THREADS),
    "melotts-mp3": Quirk("melotts answers with MP3 instead of WAV", _DOCS),
    "melotts-binary": Quirk("melotts answers with MP3 as the body itself, not with base64 in JSON", _DOCS),
    "numeric-keys": Quirk('a file comes as JSON, `{"0":73,"1":68,…}`, a number for each of its bytes', _THREADS),
    # translations
    "loses-placeholders": Quirk("m2m100 garbles what is no word: `<b>`, `{0}`, `@0#`, `⟦0⟧`, `__0__`, `%s`", _THREADS),
    "drops-sentences": Quirk("of four and more sentences in a line some are left out of the translation", _THREADS),
    "loops": Quirk("a translation repeats its first words until no token is left", _THREADS),
    "echoes": Quirk("a translation is the text as it was", _THREADS),
    "empty-translation": Quirk("a translation model answers without `translated_text`", _TYPES),
    "interpreter-miscounts": Quirk("a chat model that is given numbered texts leaves out the last one", _THREADS),
    "interpreter-talks": Quirk("a chat model that is given numbered texts talks before and after them", _THREADS),
    # failures
    "success-false-200": Quirk("the failure (out of capacity, if there is no other) has status 200", _THREADS),
    "error-200": Quirk('the failure is `{"error":{"message":…}}` with status 200', _THREADS),
    "html-error": Quirk("the failure is a page of HTML, 502 unless it has another status", _THREADS),
    "string-code": Quirk("codes of failures are strings", _THREADS),
    "picture-in-text": Quirk("a text that holds a picture as data URI is refused with 8006", _THREADS),
    "no-responses": Quirk("gpt-oss does not take OpenAI's Responses, as before 2026-02-17", _DOCS),
    "quiet-replacement": Quirk("a retired model is answered by its successor, which `model` names", _THREADS),
}

DEFAULT_QUIRKS = frozenset(
    {
        *("padding", "usage-frame", "zero-usage", "null-finaliser"),
        *("picture-in-text", "silence-refused", "loses-placeholders"),
    }
)
"""What the real service shows all the time."""

MODEL_QUIRKS = {
    "@cf/meta/llama-4-scout-17b-16e-instruct": frozenset({"nested-tool-calls"}),
    "@cf/moonshotai/kimi-k2.6": frozenset({"reasoning-field"}),
    "@cf/moonshotai/kimi-k2.7-code": frozenset({"reasoning-field"}),
}
"""What only some models show, and those always."""

FAILING = frozenset({"success-false-200", "error-200", "html-error"})
"""The quirks that make an answer fail."""


def checked(names: Iterable[str]) -> frozenset[str]:
    """The names as a set; ValueError for one that isn't in the table."""
    found = frozenset(names)
    if unknown := sorted(found - QUIRKS.keys()):
        raise ValueError(f"No such quirk: {', '.join(unknown)}")
    return found


def switched(base: frozenset[str], changes: Iterable[str]) -> frozenset[str]:
    """`base` with further quirks; a name with `-` before it switches one off."""
    changes = set(changes)
    off = {name for name in changes if name.startswith("-")}
    try:
        return base - checked(name[1:] for name in off) | checked(changes - off)
    except ValueError as failure:
        raise bad_input(f"!emulate: {failure}") from failure

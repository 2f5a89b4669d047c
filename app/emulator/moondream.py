"""Moondream, which speaks as no other model does: tasks of its own, and pictures by address.

Source: Cloudflare's published types. Its streams are left out, since nobody has published what they look like.
"""

from typing import Any

from app.emulator.checks import Check, field_problem, missing
from app.emulator.faults import Fault, bad_input
from app.emulator.meters import Meters
from app.emulator.pictures import DATA_URI, sniff
from app.emulator.replies import Reply
from app.emulator.results import charged_reply, fail_as_wanted
from app.emulator.run import Run
from app.emulator.tokens import TOKENS_PER_PICTURE, count, pieces

MOONDREAM = "@cf/moondream/moondream3.1-9B-A2B"
NEEDED = {"query": "question", "caption": "image", "point": "target", "detect": "target"}
"""Task -> the field it can't do without, beside the picture."""
FIELDS = {
    "task": Check("string"),
    "image": Check("string"),
    "question": Check("string"),
    "target": Check("string"),
    "reasoning": Check("boolean"),
    "stream": Check("boolean"),
    "temperature": Check("number", 0, 2),
    "max_tokens": Check("integer", 1, 2048),
    "max_objects": Check("integer", 1, 500),
}
MAX_TOKENS = 768


def run_moondream(run: Run, meters: Meters) -> Reply:
    body = run.body
    task = body.get("task", "query")
    seen = _checked(body, task)
    fail_as_wanted(run)
    said = f"This is the emulator built into Flarelay, not a real model. I see {seen}. {run.question}".strip()
    words = pieces(said if run.script.text is None else run.script.text)
    found = words[: body.get("max_tokens", MAX_TOKENS)]
    tokens = TOKENS_PER_PICTURE + count(run.question)
    result = _results(task, "".join(found), is_thinking=body.get("reasoning", True))
    result["finish_reason"] = "length" if len(found) < len(words) else "stop"
    times = {"prefill_time_ms": 1.0, "decode_time_ms": 1.0, "ttft_ms": 1.0}
    result["metrics"] = {"input_tokens": tokens, "output_tokens": len(found), **times}
    return charged_reply(run, meters, result, tokens, len(found))


def _checked(body: dict[str, Any], task: Any) -> str:
    """What the picture is. An address is believed: the emulator fetches nothing."""
    if problem := field_problem(body, FIELDS):
        raise bad_input(problem)
    if task not in NEEDED:
        raise bad_input("'/task' must be one of 'query', 'caption', 'point', 'detect'")
    if absent := [name for name in dict.fromkeys(["image", NEEDED[task]]) if name not in body]:
        raise bad_input(missing("/", *absent))
    if task in ("query", "caption") and body.get("stream", True):
        raise bad_input("'/stream' must be false: the emulator has no stream for this model")
    image = body["image"]
    if image.startswith("https://"):
        return "a picture at an address"
    if not DATA_URI.match(image):
        raise Fault(8006, "Invalid data for image - reason not a base64 data URI of an image")
    return f"a {sniff(image)}"


def _results(task: str, text: str, *, is_thinking: bool) -> dict[str, Any]:
    box = {"x_min": 0.25, "y_min": 0.25, "x_max": 0.75, "y_max": 0.75}
    return {
        "answer": text if task == "query" else None,
        "caption": text if task == "caption" else None,
        "points": [{"x": 0.5, "y": 0.5}] if task == "point" else None,
        "objects": [box] if task == "detect" else None,
        "reasoning": {"text": "I look.", "grounding": []} if task == "query" and is_thinking else None,
    }

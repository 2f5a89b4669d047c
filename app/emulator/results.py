"""What becomes of a task's result: it is charged, put into the envelope, and sent as the script wants its bytes."""

from dataclasses import replace
from typing import Any

from app.emulator.faults import Fault
from app.emulator.meters import Meters
from app.emulator.quirks import FAILING
from app.emulator.replies import EVENTS, Reply, halved, json_reply, sliced
from app.emulator.run import Run

NEURONS = "cf-ai-neurons"
"""The header that tells what a run cost."""


def fail_as_wanted(run: Run) -> None:
    """Raises the Fault that the script or a quirk asks for."""
    if run.script.fault:
        raise run.script.fault
    if run.quirks & FAILING:
        raise Fault(3040)


def charged_reply(run: Run, meters: Meters, result: Any, tokens: int, completion_tokens: int = 0) -> Reply:
    """The answer of a task that is paid by tokens."""
    return paid_reply(run, meters, result, round(run.model.neurons(tokens, completion_tokens) or 0.0, 6))


def paid_reply(run: Run, meters: Meters, result: Any, neurons: float) -> Reply:
    meters.charge(run.account, neurons)
    return scripted(run, whole_reply(run, result, neurons))


def paid_bytes(run: Run, meters: Meters, data: bytes, content_type: str, neurons: float) -> Reply:
    """The answer of a task whose result is a file, without an envelope."""
    meters.charge(run.account, neurons)
    headers = {"content-length": str(len(data)), NEURONS: f"{neurons:.6f}"}
    return scripted(run, Reply([data], content_type=content_type, headers=headers))


def whole_reply(run: Run, result: Any, neurons: float) -> Reply:
    if "state-envelope" in run.quirks:
        result = {"state": "Completed", "result": result, "gatewayMetadata": {"keySource": "Unified"}}
    if not run.is_openai and "unenveloped" not in run.quirks:
        result = {"result": result, "success": True, "errors": [], "messages": []}
    return json_reply(result, headers={NEURONS: f"{neurons:.6f}"})


def scripted(run: Run, reply: Reply) -> Reply:
    script = run.script
    body = reply.body
    if script.drop and reply.content_type != EVENTS:
        body = halved(body)
    if script.cut_bytes:
        body = sliced(body, script.cut_bytes)
    return replace(reply, body=body, first_pause_seconds=script.first_delay_ms / 1000, is_dropped=script.drop)

"""The task text-to-image: real pictures that show their prompt, and are made from those that came with it."""

import base64
from typing import Any

import anyio.to_thread

from app.emulator.faults import Fault
from app.emulator.image_input import Painter, fields_of, mask_of, painter_of, sources_of, steps_of
from app.emulator.meters import Meters
from app.emulator.painting import Painting, painted
from app.emulator.pictures import Picture, identified
from app.emulator.replies import Reply
from app.emulator.results import fail_as_wanted, paid_bytes, paid_reply
from app.emulator.run import Run
from app.emulator.tiles import Size, neurons_of

LONGEST_SIDE = 2048
"""Pixels of an answer that takes its size from its source."""
REFUSED_WORD = "nsfw"


async def run_text_to_image(run: Run, meters: Meters) -> Reply:
    painter = painter_of(run.model)
    body = fields_of(run, painter)
    sources, mask = sources_of(body, painter), mask_of(body, painter)
    sizes = [_size_of_source(identified(data), painter) for data in sources]
    fail_as_wanted(run)
    if REFUSED_WORD in run.question.lower():
        raise Fault(3030, painter.refusal)
    painting = Painting(
        text=_said(run),
        seed=body.get("seed", run.id),
        size=_size(body, painter, sizes),
        format="JPEG" if "jpeg-for-png" in run.quirks else painter.format,
        sources=sources,
        mask=mask,
        strength=body.get("strength", 1) if "strength" in painter.fields else 1,
    )
    data = b"" if run.script.empty else await anyio.to_thread.run_sync(painted, painting)
    neurons = neurons_of(run.model, painting.size, steps_of(body, painter), sizes)
    if run.model.output_shape == "image-base64":
        return paid_reply(run, meters, {"image": base64.b64encode(data).decode()}, neurons)
    return paid_bytes(run, meters, data, f"image/{painter.format.lower()}", neurons)


def _said(run: Run) -> str:
    if run.script.text is not None:
        return run.script.text
    return f"Drawn by the emulator built into Flarelay, not by a real model: {run.question}"


def _size_of_source(picture: Picture, painter: Painter) -> Size:
    """Raises 3030 for a picture that is too large."""
    most = painter.max_source_side
    if most is not None and max(picture.width, picture.height) > most:
        raise Fault(3030, f"Input image of {picture.width}x{picture.height} is too large: at most {most}x{most}")
    return picture.width, picture.height


def _size(body: dict[str, Any], painter: Painter, sources: list[Size]) -> Size:
    """Width and height that are not sent, or 0, are those of the source or the usual ones."""
    width, height = painter.size
    if sources and painter.max_source_side is None:
        width, height = _fitted(sources[0])
    if "width" not in painter.fields:
        return width, height
    return body.get("width") or width, body.get("height") or height


def _fitted(size: Size) -> Size:
    """Scaled down to what an answer may have."""
    scale = min(1, LONGEST_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))

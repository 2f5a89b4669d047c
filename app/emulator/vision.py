"""The tasks that look at one picture: image classification, object detection, image-to-text.

Source: Cloudflare's docs and published types. What is seen follows from the picture's bytes alone.
"""

import hashlib
from typing import Any

from app.emulator.checks import Check, field_problem
from app.emulator.faults import bad_input
from app.emulator.meters import Meters
from app.emulator.moondream import MOONDREAM, run_moondream
from app.emulator.pictures import Picture, identified, listed
from app.emulator.replies import Reply
from app.emulator.results import charged_reply, fail_as_wanted, paid_reply
from app.emulator.run import Run
from app.emulator.tokens import TOKENS_PER_PICTURE, count, pieces

_CLASSES = (
    "TABBY|GOLDEN RETRIEVER|ESPRESSO|SPORTS CAR|ACOUSTIC GUITAR|DAISY|LIGHTHOUSE|VOLCANO|TEAPOT|UMBRELLA|BACKPACK|"
    "PINEAPPLE|SUSPENSION BRIDGE|MONARCH|ANALOG CLOCK|CANOE"
)
CLASSES = _CLASSES.split("|")
OBJECTS = ["person", "bicycle", "car", "dog", "cat", "chair", "bottle", "laptop", "book", "clock", "cup", "bird"]
TOP = 5
FIELDS = {"prompt": Check("string"), "max_tokens": Check("integer", 1)}
MAX_TOKENS = 512


def run_image_classification(run: Run, meters: Meters) -> Reply:
    data, _ = _picture(run)
    fail_as_wanted(run)
    dice = hashlib.sha256(data).digest()
    labels = [CLASSES[(dice[0] + number * 5) % len(CLASSES)] for number in range(TOP)]  # 5: all of them differ
    result = [{"label": label, "score": 0.5**number * 0.6} for number, label in enumerate(labels)]
    return paid_reply(run, meters, result, _price(run))


def run_object_detection(run: Run, meters: Meters) -> Reply:
    data, picture = _picture(run)
    fail_as_wanted(run)
    dice = hashlib.sha256(data).digest()
    found = [_object(dice[4 * number : 4 * number + 4], picture) for number in range(1 + dice[-1] % TOP)]
    return paid_reply(run, meters, found, _price(run))


def run_image_to_text(run: Run, meters: Meters) -> Reply:
    if run.model.id == MOONDREAM:
        return run_moondream(run, meters)
    _, picture = _picture(run)
    if problem := field_problem(run.body, FIELDS):
        raise bad_input(problem)
    fail_as_wanted(run)
    said = f"This is the emulator built into Flarelay, not a real model. I see a {picture}. {run.question}".strip()
    found = pieces(said if run.script.text is None else run.script.text)[: run.body.get("max_tokens", MAX_TOKENS)]
    tokens = TOKENS_PER_PICTURE + count(run.question)
    return charged_reply(run, meters, {"description": "".join(found)}, tokens, len(found))


def _picture(run: Run) -> tuple[bytes, Picture]:
    """From the raw body or from `{image:[ints]}`. Raises 5006 for what is no list of bytes, 8006 for no picture."""
    data = run.data or listed(run.body, "image")
    return data, identified(data)


def _object(dice: bytes, picture: Picture) -> dict[str, Any]:
    """Somewhere within the picture."""
    left, top = dice[1] * picture.width // 512, dice[2] * picture.height // 512
    box = {"xmin": left, "ymin": top, "xmax": left + (picture.width + 1) // 2, "ymax": top + (picture.height + 1) // 2}
    return {"label": OBJECTS[dice[0] % len(OBJECTS)], "score": 0.5 + dice[3] / 512, "box": box}


def _price(run: Run) -> float:
    """Neurons of a picture."""
    return next((price.neurons for price in run.model.price if price.unit == "image"), 0.0)

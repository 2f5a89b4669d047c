import anyio
import pytest

from app.calls import Caller
from app.catalog import Catalog
from app.catalog.translators import HEED_MANNER
from app.translation.desk import Desk
from app.translation.engines import KINDS
from app.translation.late import LateDesk
from app.translation.wishes import Translated, Translation, Wish
from tests.translation.test_engines import CALLER

pytestmark = pytest.mark.anyio


class Translator(Desk):
    """Says everything in the same words."""

    def __init__(self) -> None:
        pass

    async def translate(self, wish: Wish, caller: Caller) -> Translation:
        return Translation(tuple(Translated("Hallo", "en", characters=5) for _ in wish.texts), caller.name)

    async def characters(self, _caller: Caller) -> int:
        return 5


def late(made: list[Desk], default: str = "m2m100", fallback: str | None = None) -> LateDesk:
    def make() -> Desk:
        made.append(Translator())
        return made[-1]

    return LateDesk(make, Catalog.load(), default, fallback)


async def test_there_is_no_desk_before_somebody_asks_and_then_only_one() -> None:
    made: list[Desk] = []
    desk = late(made)
    assert made == []
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(desk.characters, CALLER)
    translation = await desk.translate(Wish(("Hello",), "de"), CALLER)
    assert [translated.text for translated in translation.texts] == ["Hallo"]
    assert await desk.characters(CALLER) == 5
    assert len(made) == 1


@pytest.mark.parametrize(("default", "heeds_manner"), [("m2m100", False), ("gpt-4o-mini", True)])
def test_whether_manner_is_heeded_is_known_before(default: str, heeds_manner: bool) -> None:
    assert late([], default).heeds_manner is heeds_manner


@pytest.mark.parametrize(
    ("default", "fallback", "words"),
    [
        ("whisper-1", None, "The model 'whisper-1' is made for automatic-speech-recognition and can't translate."),
        ("m2m100", "gpt-none", "The model 'gpt-none' does not exist."),
    ],
)
def test_a_model_that_cannot_translate_is_refused_before(default: str, fallback: str | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        late([], default, fallback)


def test_every_kind_of_model_that_can_translate_has_its_engine() -> None:
    assert {task: kind.heeds_manner for task, kind in KINDS.items()} == HEED_MANNER  # type: ignore[attr-defined]

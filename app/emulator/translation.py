"""The task translation: made-up translations, with the faults of the real models.

Source: Cloudflare's published types and docs; the languages are those of the open models.
"""

import re
from collections.abc import Set as AbstractSet
from itertools import cycle, islice
from typing import Any

from app.emulator.checks import Check, field_problem, missing
from app.emulator.faults import Fault, bad_input
from app.emulator.meters import Meters
from app.emulator.pseudo import NAMES, pseudo
from app.emulator.replies import Reply
from app.emulator.results import charged_reply, fail_as_wanted
from app.emulator.run import Run
from app.emulator.text_fields import text_at, texts_at
from app.emulator.tokens import count, pieces

INDIC = "@cf/ai4bharat/indictrans2-en-indic-1B"
_CODES = (
    "af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr fy ga gd gl gu ha he hi hr ht hu hy "
    "id ig ilo is it ja jv ka kk km kn ko lb lg ln lo lt lv mg mk ml mn mr ms my ne nl no ns oc or pa pl ps pt ro ru "
    "sd si sk sl so sq sr ss su sv sw ta th tl tn tr uk ur uz vi wo xh yi yo zh zu"
)
_INDIC_CODES = (
    "asm_Beng awa_Deva ben_Beng bho_Deva brx_Deva doi_Deva eng_Latn gom_Deva gon_Deva guj_Gujr hin_Deva hne_Deva "
    "kan_Knda kas_Arab kas_Deva kha_Latn lus_Latn mag_Deva mai_Deva mal_Mlym mar_Deva mni_Beng mni_Mtei npi_Deva "
    "ory_Orya pan_Guru san_Deva sat_Olck snd_Arab snd_Deva tam_Taml tel_Telu urd_Arab unr_Deva"
)
LANGUAGES = frozenset([*_CODES.split(), *NAMES])
INDIC_LANGUAGES = frozenset(_INDIC_CODES.split())
FIELDS = {name: Check("string") for name in ("source_lang", "target_lang", "target_language")}
MOST_TOKENS = 1024
"""Of a text; what comes after is lost without a word."""
LOOPED_WORDS = 3
"""Of a translation that goes round in circles."""
MANY_SENTENCES = 4
"""In a line, from which on some are left out."""

_PLACEHOLDER = re.compile(
    r"</?[^\s<>][^<>]*>|(?P<at>@)(?P<place>\d+)#|\{+(?P<name>[^{}]*)\}+|[⟦\[](?P<number>\d+)[⟧\]]|__(?P<mark>\w+?)__"
)
_SENTENCE = re.compile(r".+?(?:[.!?]+(?=\s|\Z)\s*|[。！？]+|\Z)")


def run_translation(run: Run, meters: Meters) -> Reply:
    texts, source, target = _indic(run) if run.model.id == INDIC else _any(run)
    fail_as_wanted(run)
    script = run.script
    quirks = run.quirks - {"loses-placeholders"} if run.model.id == INDIC else run.quirks
    texts = ["".join(pieces(text)[:MOST_TOKENS]) for text in texts]
    translated = [rendered(text, source, target, quirks) if script.text is None else script.text for text in texts]
    result: dict[str, Any] = (
        {"translations": translated} if run.model.id == INDIC else {"translated_text": translated[0]}
    )
    if script.empty or "empty-translation" in quirks:
        result = {}
    tokens, completion_tokens = sum(map(count, texts)), sum(map(count, translated))
    return charged_reply(run, meters, result, tokens, completion_tokens)


def rendered(text: str, source: str, target: str, quirks: AbstractSet[str]) -> str:
    """The made-up translation, as the quirks spoil it."""
    if "echoes" in quirks:
        return text
    if "loses-placeholders" in quirks:
        text = garbled(text)
    if "drops-sentences" in quirks:
        text = "".join(map(shortened, text.splitlines(keepends=True)))
    text = pseudo(text, source, target)
    return looped(text) if "loops" in quirks else text


def garbled(text: str) -> str:
    """With tags gone, and placeholders that have lost their signs. Plain numbers and words stay."""
    return _PLACEHOLDER.sub(_remains, text)


def shortened(line: str) -> str:
    """A line of many sentences without the third of each four."""
    body = line.rstrip()
    sentences = _SENTENCE.findall(body)
    if len(sentences) < MANY_SENTENCES:
        return line
    kept = [sentence for place, sentence in enumerate(sentences) if place % MANY_SENTENCES != 2]
    return "".join(kept).rstrip() + line[len(body) :]


def looped(text: str) -> str:
    words = text.split()[:LOOPED_WORDS]
    return "".join(islice(cycle(pieces(" ".join(["", *words]))), MOST_TOKENS)).strip() if words else text


def _remains(placeholder: re.Match[str]) -> str:
    return " ".join(part for part in placeholder.groups() if part)


def _any(run: Run) -> tuple[list[str], str, str]:
    """Source and target, of which the source is not detected but English unless named."""
    text = text_at(run.body, "text")
    if "target_lang" not in run.body:
        raise bad_input(missing("/", "target_lang"))
    if problem := field_problem(run.body, FIELDS):
        raise bad_input(problem)
    source, target = run.body.get("source_lang", "en"), run.body["target_lang"]
    if unknown := [language for language in (source, target) if language not in LANGUAGES]:
        raise Fault(3030, f"Unsupported language: {unknown[0]}")
    return [text], source, target


def _indic(run: Run) -> tuple[list[str], str, str]:
    if absent := [name for name in ("text", "target_language") if name not in run.body]:
        raise bad_input(missing("/", *absent))
    if problem := field_problem(run.body, FIELDS):
        raise bad_input(problem)
    target = run.body["target_language"]
    if target not in INDIC_LANGUAGES:
        raise bad_input(f"'/target_language' must be one of the published codes, found '{target}'")
    return texts_at(run.body, "text"), "eng_Latn", target

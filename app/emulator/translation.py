"""The task translation: texts marked with the languages they would go through, line by line.

Source: Cloudflare's published types and docs; the languages are those of the open models.
"""

from typing import Any

from app.emulator.checks import Check, field_problem, missing
from app.emulator.faults import Fault, bad_input
from app.emulator.meters import Meters
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
_NAMES = "english chinese french spanish arabic russian german japanese portuguese hindi"
_INDIC_CODES = (
    "asm_Beng awa_Deva ben_Beng bho_Deva brx_Deva doi_Deva eng_Latn gom_Deva gon_Deva guj_Gujr hin_Deva hne_Deva "
    "kan_Knda kas_Arab kas_Deva kha_Latn lus_Latn mag_Deva mai_Deva mal_Mlym mar_Deva mni_Beng mni_Mtei npi_Deva "
    "ory_Orya pan_Guru san_Deva sat_Olck snd_Arab snd_Deva tam_Taml tel_Telu urd_Arab unr_Deva"
)
LANGUAGES = frozenset([*_CODES.split(), *_NAMES.split()])
INDIC_LANGUAGES = frozenset(_INDIC_CODES.split())
FIELDS = {name: Check("string") for name in ("source_lang", "target_lang", "target_language")}
MOST_TOKENS = 1024
"""Of a text; what comes after is lost without a word."""


def run_translation(run: Run, meters: Meters) -> Reply:
    texts, source, target = _indic(run) if run.model.id == INDIC else _any(run)
    fail_as_wanted(run)
    script = run.script
    texts = ["".join(pieces(text)[:MOST_TOKENS]) for text in texts]
    translated = [_translated(text, source, target) if script.text is None else script.text for text in texts]
    result: dict[str, Any] = (
        {"translations": translated} if run.model.id == INDIC else {"translated_text": translated[0]}
    )
    tokens, completion_tokens = sum(map(count, texts)), sum(map(count, translated))
    return charged_reply(run, meters, {} if script.empty else result, tokens, completion_tokens)


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


def _translated(text: str, source: str, target: str) -> str:
    """Every line that says something, marked; line breaks and indents stay."""
    return "".join(_marked(line, f"[{source}→{target}] ") for line in text.splitlines(keepends=True))


def _marked(line: str, mark: str) -> str:
    start = len(line) - len(line.lstrip())
    return line[:start] + mark + line[start:] if line.strip() else line

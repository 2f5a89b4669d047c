"""Codes and names of languages, as clients write them."""

import pytest

from app.languages.codes import Tag, code_of, name_of, region_of, split_tag, whisper_name

# LANGUAGES and TO_LANGUAGE_CODE in `whisper/tokenizer.py` of OpenAI's whisper.
WHISPER_NAMES = (
    "english chinese german spanish russian korean french japanese portuguese turkish polish catalan dutch arabic "
    "swedish italian indonesian hindi finnish vietnamese hebrew ukrainian greek malay czech romanian danish "
    "hungarian tamil norwegian thai urdu croatian bulgarian lithuanian latin maori malayalam welsh slovak telugu "
    "persian latvian bengali serbian azerbaijani slovenian kannada estonian macedonian breton basque icelandic "
    "armenian nepali mongolian bosnian kazakh albanian swahili galician marathi punjabi sinhala khmer shona yoruba "
    "somali afrikaans occitan georgian belarusian tajik sindhi gujarati amharic yiddish lao uzbek faroese pashto "
    "turkmen nynorsk maltese sanskrit luxembourgish myanmar tibetan tagalog malagasy assamese tatar hawaiian "
    "lingala hausa bashkir javanese sundanese cantonese "
)
WHISPER_ALIASES = {
    "burmese": "my",
    "valencian": "ca",
    "flemish": "nl",
    "haitian": "ht",
    "letzeburgesch": "lb",
    "pushto": "ps",
    "panjabi": "pa",
    "moldavian": "ro",
    "moldovan": "ro",
    "sinhalese": "si",
    "castilian": "es",
    "mandarin": "zh",
}
# The codes of m2m100's model card, of which `ns` is Northern Sotho.
M2M100 = (
    "af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr fy ga gd gl gu ha he hi hr ht hu "
    "hy id ig ilo is it ja jv ka kk km kn ko lb lg ln lo lt lv mg mk ml mn mr ms my ne nl no oc or pa pl ps pt ro "
    "ru sd si sk sl so sq sr ss su sv sw ta th tl tn tr uk ur uz vi wo xh yi yo zh zu "
)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("en-US", "en"),
        ("en_us", "en"),
        ("eng", "en"),
        ("English", "en"),
        ("english", "en"),
        ("  ENGLISH ", "en"),
        ("English (US)", "en"),
        ("zh", "zh"),
        ("ZH", "zh"),
        ("zh-CN", "zh"),
        ("zh-Hant", "zh"),
        ("ZH_HANS", "zh"),
        ("zh-Hant-TW", "zh"),
        ("zh-HK", "zh"),
        ("cmn", "zh"),
        ("cmn-Hans", "zh"),
        ("chi", "zh"),
        ("cn", "zh"),
        ("Chinese (Simplified)", "zh"),
        ("simplified_chinese", "zh"),
        ("yue", "yue"),
        ("iw", "he"),
        ("in", "id"),
        ("ji", "yi"),
        ("jw", "jv"),
        ("jp", "ja"),
        ("kr", "ko"),
        ("nb", "no"),
        ("NB", "no"),
        ("nn", "nn"),
        ("pt-br", "pt"),
        ("PT-PT", "pt"),
        ("es-419", "es"),
        ("fil", "tl"),
        ("ger", "de"),
        ("deu", "de"),
        ("hin_Deva", "hi"),
        ("npi_Deva", "ne"),
        ("ory_Orya", "or"),
        ("mni_Mtei", "mni"),
        ("ns", "nso"),
        ("haitian creole", "ht"),
        ("auto", None),
        ("", None),
        ("  ", None),
        ("klingon", None),
        ("xx", None),
        ("xx-US", None),
        ("en-", None),
        ("en US please", None),
        ("e" * 5000, None),
    ],
)
def test_code_of_what_clients_send(name: str, code: str | None) -> None:
    assert code_of(name) == code


@pytest.mark.parametrize(("name", "code"), WHISPER_ALIASES.items())
def test_whispers_aliases_are_known(name: str, code: str) -> None:
    assert code_of(name) == code


@pytest.mark.parametrize("name", [*WHISPER_NAMES.split(), "haitian creole"])
def test_whispers_names_lead_to_a_code_and_back(name: str) -> None:
    code = code_of(name)
    assert code is not None
    assert whisper_name(code) == name


@pytest.mark.parametrize("code", M2M100.split())
def test_the_codes_of_m2m100_are_codes_here_and_have_names(code: str) -> None:
    assert code_of(code) == code
    assert name_of(code) != code
    assert code_of(name_of(code)) == code


@pytest.mark.parametrize(
    ("tag", "parts"),
    [
        ("en", Tag("en")),
        ("EN-us", Tag("en", None, "US")),
        ("en_GB", Tag("en", None, "GB")),
        ("zh-hant", Tag("zh", "Hant")),
        ("ZH_HANS_cn", Tag("zh", "Hans", "CN")),
        ("es-419", Tag("es", None, "419")),
        ("hin_Deva", Tag("hin", "Deva")),
        ("zh-cmn-Hans-CN", Tag("zh", "Hans", "CN")),
        ("sl-rozaj-biske-1994", Tag("sl")),
        ("de-1996", Tag("de")),
        ("en-US-GB", Tag("en", None, "US")),
        ("zh-TW-Hant", Tag("zh", None, "TW")),
        ("de-DE-u-co-phonebk", Tag("de", None, "DE")),
        ("en-a-US", Tag("en")),
        ("", Tag("")),
    ],
)
def test_the_parts_of_a_tag(tag: str, parts: Tag) -> None:
    assert split_tag(tag) == parts


def test_the_region_of_a_tag() -> None:
    assert region_of("pt_br") == "BR"
    assert region_of("pt") is None


def test_names_in_english() -> None:
    assert [name_of(code) for code in ("en", "zh", "el", "no", "yue")] == [
        "English",
        "Chinese",
        "Greek",
        "Norwegian",
        "Cantonese",
    ]


def test_an_unknown_code_has_no_names() -> None:
    assert name_of("qqq") == "qqq"
    assert whisper_name("qqq") is None


def test_whisper_does_not_know_every_language() -> None:
    assert whisper_name("my") == "myanmar"
    assert whisper_name("zu") is None

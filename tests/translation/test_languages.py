"""Codes of languages, as clients of translation write and read them."""

import deepl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.translation.languages import (
    base,
    deepl_code,
    deepl_languages,
    detected,
    english_name,
    immersive_code,
    is_same,
    m2m100_languages,
    parse,
    parse_source,
    parse_target,
)

# DeepL's docs, "Supported languages".
DEEPL_SOURCES = "AR BG CS DA DE EL EN ES ET FI FR HE HU ID IT JA KO LT LV NB NL PL PT RO RU SK SL SV TH TR UK VI ZH"
DEEPL_VARIANTS = {
    "EN-GB": "en-GB",
    "EN-US": "en-US",
    "ES-419": "es-419",
    "PT-BR": "pt-BR",
    "PT-PT": "pt-PT",
    "ZH-HANS": "zh-Hans",
    "ZH-HANT": "zh-Hant",
}
# m2m100's model card.
M2M100 = (
    "af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr fy ga gd gl gu ha he hi hr ht hu "
    "hy id ig ilo is it ja jv ka kk km kn ko lb lg ln lo lt lv mg mk ml mn mr ms my ne nl no ns oc or pa pl ps pt ro "
    "ru sd si sk sl so sq sr ss su sv sw ta th tl tn tr uk ur uz vi wo xh yi yo zh zu"
)
# Immersive Translate's own codes, which its DeepLX mode sends as well where DeepL has none.
IMMERSIVE = (
    "en ja ko fr de es it ru pt nl pl ar tr vi th id ms uk cs da el fi hu no ro sk sl sv bg et lt lv hi bn ta te ur "
    "fa he mn bo ug"
)
# The languages of Bob that are not written otherwise below.
BOB = (
    "en ja ko fr de es it ru pt nl pl ar af am az be bg bn bs ca ceb chr co cs cy da el eo et eu fa fi fj fy ga gd gl "
    "gu ha haw he hi hmn hr ht hu hy id ig is ka kk km kn ku ky la lb lo lt lv mg mi mk ml mn mr ms mt my no ny or pa "
    "ps ro rw sd si sk sl sm sn so sq sr st su sv sw ta te tg th tk tlh to tr tt ty ug uk ur uz vi xh yi yo yua zu"
)
# The languages of Pot and STranslate that are not written otherwise below.
POT = "ja en ko fr es ru de it tr vi id th ms ar hi km fa sv pl nl uk he"

WRITTEN_OTHERWISE = {
    "ZH-CN": "zh-Hans",
    "zh-CN": "zh-Hans",
    "zh_cn": "zh-Hans",
    "ZH_HANS": "zh-Hans",
    "zh-SG": "zh-Hans",
    "zh-MY": "zh-Hans",
    "zh-CHS": "zh-Hans",
    "chs": "zh-Hans",
    "cn": "zh-Hans",
    "zho_Hans": "zh-Hans",
    "zh-Hans-CN": "zh-Hans",
    "zh-Hans-HK": "zh-Hans",
    "zh-cmn-Hans-CN": "zh-Hans",
    "cmn-Hans": "zh-Hans",
    "yue-Hans": "zh-Hans",
    "Simplified Chinese": "zh-Hans",
    "Chinese (Simplified)": "zh-Hans",
    "chinese_simplified": "zh-Hans",
    "zh-TW": "zh-Hant",
    "ZH-TW": "zh-Hant",
    "zh_tw": "zh-Hant",
    "zh_Hant": "zh-Hant",
    "zh-Hant-TW": "zh-Hant",
    "zho-Hant": "zh-Hant",
    "cht": "zh-Hant",
    "zh-CHT": "zh-Hant",
    "Traditional Chinese": "zh-Hant",
    "Chinese (Traditional)": "zh-Hant",
    "zh-HK": "zh-Hant-HK",
    "ZH-HK": "zh-Hant-HK",
    "zh_MO": "zh-Hant-HK",
    "zh-Hant-HK": "zh-Hant-HK",
    "yue": "zh-Hant-HK",
    "YUE": "zh-Hant-HK",
    "yue-Hant": "zh-Hant-HK",
    "yue-HK": "zh-Hant-HK",
    "zh-yue": "zh-Hant-HK",
    "Cantonese": "zh-Hant-HK",
    "wyw": "lzh",
    "pt-br": "pt-BR",
    "pt_br": "pt-BR",
    "pt_PT": "pt-PT",
    "Portuguese (Brazil)": "pt-BR",
    "Brazilian Portuguese": "pt-BR",
    "pt-AO": "pt",
    "en_us": "en-US",
    "en-us": "en-US",
    "eng-GB": "en-GB",
    "English (UK)": "en-GB",
    "en-AU": "en",
    "en-Latn-US": "en-US",
    "en-US-u-ca-gregory": "en-US",
    "en-x-GB": "en",
    "es-MX": "es-419",
    "es-ES": "es",
    "fr-CA": "fr-CA",
    "de-AT": "de",
    "nb": "no",
    "NB": "no",
    "nb_no": "no",
    "nob": "no",
    "nn_no": "nn",
    "Norwegian Bokmål": "no",
    "fil": "tl",
    "iw": "he",
    "jw": "jv",
    "in": "id",
    "jp": "ja",
    "kor": "ko",
    "fra": "fr",
    "eng": "en",
    "ENG": "en",
    "eng_Latn": "en",
    "sr-Latn": "sr-Latn",
    "sr_latn_RS": "sr-Latn",
    "sr-Cyrl": "sr",
    "mn_cy": "mn",
    "mn_mo": "mn-Mong",
    "mn-Cyrl": "mn",
    "mni-Mtei": "mni-Mtei",
    "mni_Beng": "mni",
    "kas_Deva": "ks-Deva",
    "snd_Arab": "sd",
    "uz-Latn": "uz",
    "uz-Cyrl": "uz-Cyrl",
    "kmr": "ku",
    "KMR": "ku",
    "prs": "fa",
    "mww": "hmn",
    "tlh-Latn": "tlh",
    "klingon": "tlh",
    "Querétaro Otomi": "otq",
    "hsb": "hsb",
    "kri": "kri",
    "english": "en",
    "French": "fr",
    "  GERMAN\n": "de",
    "haitian creole": "ht",
}


@pytest.mark.parametrize(("code", "tag"), WRITTEN_OTHERWISE.items())
def test_codes_of_clients_are_understood(code: str, tag: str) -> None:
    assert parse_source(code) == parse_target(code) == parse(code) == tag


@pytest.mark.parametrize("code", [*f"{IMMERSIVE} {BOB} {POT}".split(), *M2M100.replace(" zh ", " ").split(), "lzh"])
def test_plain_codes_are_tags_in_any_case(code: str) -> None:
    tag = {"ns": "nso"}.get(code, code)
    assert parse(code) == parse(code.upper()) == parse(f" {code.title()} ") == tag


@pytest.mark.parametrize("code", ["zh", "ZH", "zho", "chi", "cmn", "chinese", "Chinese", "Mandarin", "zh-XX"])
def test_chinese_without_a_form_is_simplified_as_a_target_and_open_as_a_source(code: str) -> None:
    assert parse_source(code) == "zh"
    assert parse_target(code) == parse(code) == "zh-Hans"


@pytest.mark.parametrize(
    "code", [None, "", "  ", "auto", "AUTO", "Auto", "auto-detect", "auto_detect", "autodetect", "detect", "und"]
)
def test_no_language_is_none(code: str | None) -> None:
    assert parse_source(code) is parse_target(code) is parse(code) is None


@pytest.mark.parametrize(
    "code",
    [
        "xx",
        "EN,DE",
        "en;q=0.9",
        "en\x00",
        "en-",
        "-en-GB",
        "zh--Hant",
        "en.UTF-8",
        "ＥＮ",
        "中文",
        "null",
        "hk",
        "12",
        "../en",
        "{}",
        "en' OR 1=1",
        "\ud800",
        "e" * 100_000,
        "en-" * 50_000,
        "en" + "-gb" * 50,
    ],
)
def test_unknown_languages_are_refused_in_few_words(code: str) -> None:
    with pytest.raises(ValueError, match="Unknown language: ") as failure:
        parse(code)
    assert len(str(failure.value)) < 100


@settings(deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"\A[a-z]{2,3}([-_][A-Za-z0-9]{2,4}){0,3}\Z"))
def test_a_tag_is_its_own_tag(code: str) -> None:
    try:
        tag = parse_source(code)
    except ValueError:
        return
    assert parse_source(tag) == tag


@pytest.mark.parametrize("code", DEEPL_SOURCES.split())
def test_codes_of_deepl_come_back_as_sources(code: str) -> None:
    for sent in (code, code.lower()):
        tag = parse_source(sent)
        assert tag is not None
        assert deepl_code(tag, is_source=True) == code


@pytest.mark.parametrize(("code", "tag"), DEEPL_VARIANTS.items())
def test_variants_of_deepl_come_back_as_targets_and_without_variant_as_sources(code: str, tag: str) -> None:
    assert parse_target(code) == parse_target(code.lower()) == tag
    assert deepl_code(tag) == code
    assert deepl_code(tag, is_source=True) == code[:2]


def test_all_codes_of_deepl_s_own_client_are_known() -> None:
    codes = [code for name, code in vars(deepl.Language).items() if name.isupper()]
    assert len(codes) > 100
    for code in codes:
        tag = parse_target(code)
        assert tag is not None
        assert parse_target(deepl_code(tag)) in (tag, "zh-Hant")


@pytest.mark.parametrize(
    ("tag", "source", "target"),
    [
        ("zh", "ZH", "ZH-HANS"),
        ("zh-Hans", "ZH", "ZH-HANS"),
        ("zh-Hant", "ZH", "ZH-HANT"),
        ("zh-Hant-HK", "ZH", "ZH-HANT"),
        ("en", "EN", "EN"),
        ("pt", "PT", "PT"),
        ("no", "NB", "NB"),
        ("nn", "NN", "NN"),
        ("fr-CA", "FR", "FR"),
        ("sr-Latn", "SR", "SR"),
        ("ku", "KMR", "KMR"),
        ("ceb", "CEB", "CEB"),
    ],
)
def test_deepl_s_codes_are_in_capitals(tag: str, source: str, target: str) -> None:
    assert deepl_code(tag, is_source=True) == source
    assert deepl_code(tag) == target


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("zh", "zh-CN"),
        ("zh-Hans", "zh-CN"),
        ("zh-Hant", "zh-TW"),
        ("zh-Hant-HK", "zh-HK"),
        ("pt-BR", "pt-br"),
        ("pt-PT", "pt"),
        ("en-GB", "en"),
        ("no", "no"),
        ("tl", "fil"),
        ("jv", "jw"),
    ],
)
def test_immersive_translate_has_codes_of_its_own(tag: str, code: str) -> None:
    assert immersive_code(tag) == code
    assert base(parse_source(code) or "") == base(tag)


@pytest.mark.parametrize("code", IMMERSIVE.split())
def test_codes_of_immersive_translate_come_back(code: str) -> None:
    assert immersive_code(parse_target(code) or "") == code


def test_sources_are_deepl_s_and_then_the_others_of_m2m100() -> None:
    languages = deepl_languages("source")
    codes = [code for code, _ in languages]
    own, further = codes[:33], codes[33:]
    assert own == DEEPL_SOURCES.split()
    assert further == sorted(further)
    assert len(codes) == len(set(codes)) == 100
    assert {parse_source(code) for code in codes} == {parse_source(code) for code in M2M100.split()}
    names = {"NB": "Norwegian (Bokmål)", "ZH": "Chinese", "NSO": "Northern Sotho", "EN": "English"}
    assert names.items() <= dict(languages).items()


def test_targets_have_variants() -> None:
    languages = dict(deepl_languages("target"))
    own = list(languages)[:40]
    assert own == sorted([*DEEPL_SOURCES.split(), *DEEPL_VARIANTS])
    assert languages.keys() - set(DEEPL_VARIANTS) == dict(deepl_languages("source")).keys()
    assert {code: languages[code] for code in DEEPL_VARIANTS} == {
        "EN-GB": "English (British)",
        "EN-US": "English (American)",
        "ES-419": "Spanish (Latin American)",
        "PT-BR": "Portuguese (Brazilian)",
        "PT-PT": "Portuguese (European)",
        "ZH-HANS": "Chinese (simplified)",
        "ZH-HANT": "Chinese (traditional)",
    }


def test_m2m100_has_a_hundred_languages() -> None:
    tags = m2m100_languages()
    assert tags == tuple("nso" if code == "ns" else code for code in M2M100.split())
    assert len(set(tags)) == 100
    assert all(parse_source(tag) == tag for tag in tags)


@pytest.mark.parametrize(("tag", "expected"), [("zh-Hant-HK", "zh"), ("en-GB", "en"), ("ceb", "ceb"), ("zh", "zh")])
def test_the_base_of_a_tag_is_its_language(tag: str, expected: str) -> None:
    assert base(tag) == expected


@pytest.mark.parametrize(
    ("source", "target", "same"),
    [
        ("en", "en", True),
        ("en", "en-GB", True),
        ("en-US", "en-GB", True),
        ("pt-BR", "pt-PT", True),
        ("pt", "pt-BR", True),
        ("es-419", "es", True),
        ("en", "de", False),
        ("no", "nn", False),
        ("zh-Hans", "zh-Hans", True),
        ("zh-Hant-HK", "zh-Hant-HK", True),
        ("zh-Hans", "zh-Hant", False),
        ("zh-Hant", "zh-Hant-HK", False),
        ("zh", "zh-Hans", False),
        ("sr", "sr-Latn", False),
        ("sr-Latn", "sr-Latn", True),
    ],
)
def test_regions_make_no_other_language_but_forms_and_scripts_do(source: str, target: str, same: bool) -> None:
    assert is_same(source, target) is same
    assert is_same(target, source) is same


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("zh", "Chinese"),
        ("zh-Hans", "Simplified Chinese"),
        ("zh-Hant", "Traditional Chinese (Taiwan)"),
        ("zh-Hant-HK", "Traditional Chinese (Hong Kong)"),
        ("pt-BR", "Brazilian Portuguese"),
        ("en-GB", "British English"),
        ("en", "English"),
        ("no", "Norwegian (Bokmål)"),
        ("nn", "Norwegian (Nynorsk)"),
        ("sr-Latn", "Serbian (Latin script)"),
        ("lzh", "Literary Chinese"),
        ("nso", "Northern Sotho"),
        ("qqq", "qqq"),
    ],
)
def test_languages_have_english_names(tag: str, name: str) -> None:
    assert english_name(tag) == name


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("The weather is very nice today, isn't it?", "en"),
        ("Das Wetter ist heute wirklich sehr schön.", "de"),
        ("これは日本語の文章です。", "ja"),
        ("请打开软件里的设置", "zh-Hans"),
        ("請打開軟體裡的設定", "zh-Hant"),
        ("你好", "zh-Hans"),
        ("안녕하세요", "ko"),
        ("", None),
        ("123 + 45 = 😀", None),
        ("https://example.org/en", None),
    ],
)
def test_a_text_tells_its_language(text: str, tag: str | None) -> None:
    assert detected(text) == tag


@pytest.mark.parametrize(
    ("text", "hint", "tag"),
    [
        ("OK", "de", "de"),
        ("Menu", "pt-BR", "pt-BR"),
        ("Info", "sr-Latn", "sr-Latn"),
        ("東京", "ja", "ja"),
        ("東京", "zh-Hant-HK", "zh-Hant-HK"),
        ("你好", "zh-Hant", "zh-Hant"),
        ("你好", "zh", "zh-Hans"),
        ("你好", "en", "zh-Hans"),
        ("东京", "zh-Hant", "zh-Hans"),
        ("請打開軟體裡的設定", "zh-Hant-HK", "zh-Hant-HK"),
        ("請打開軟體裡的設定", "ja", "zh-Hant"),
        ("안녕", "en", "ko"),
        ("The weather is very nice today, isn't it? I think so.", "de", "en"),
        ("123", "de", None),
    ],
)
def test_a_hint_decides_what_a_short_text_leaves_open(text: str, hint: str, tag: str | None) -> None:
    assert detected(text, hint) == tag


@pytest.mark.parametrize("hint", ["ru", "zh-Hans", "sr", "qqq", "mn-Mong"])
def test_a_hint_of_another_script_is_not_taken(hint: str) -> None:
    assert detected("OK", hint) == detected("OK")

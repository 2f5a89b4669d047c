"""The forms of Chinese, and what is none."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.languages.scripts import script_of
from app.translation.chinese import is_form, to_form

FORMS = ("zh-Hans", "zh-Hant", "zh-Hant-HK")

SIMPLIFIED = "请打开软件里的设置，头发和皇后都在公里之外，鼠标和内存也是。"
TAIWAN = "請開啟軟體裡的設定，頭髮和皇后都在公里之外，滑鼠和記憶體也是。"
ABOUT_A_JAPANESE_FILM = (
    "我喜欢《ゴン》这部来自日本的动画电影，因为故事有意思，画面漂亮，音乐也让人难忘，值得大家一起看看"
)
HONG_KONG = "請打開軟件裏的設置，頭髮和皇后都在公里之外，鼠標和內存也是。"


@pytest.mark.parametrize(
    ("text", "tag", "expected"),
    [
        (SIMPLIFIED, "zh-Hans", SIMPLIFIED),
        (SIMPLIFIED, "zh", SIMPLIFIED),
        (SIMPLIFIED, "zh-Hant", TAIWAN),
        (SIMPLIFIED, "zh-Hant-TW", TAIWAN),
        (SIMPLIFIED, "zh-Hant-HK", HONG_KONG),
        (TAIWAN, "zh-Hant", TAIWAN),
        (HONG_KONG, "zh-Hant-HK", HONG_KONG),
        (HONG_KONG, "zh-Hans", "请打开软件里的设置，头发和皇后都在公里之外，鼠标和内存也是。"),
        ("說話的衛兵", "zh-Hant-HK", "説話的衞兵"),
        ("參閱", "zh-Hant-HK", "參閲"),
        ("台灣", "zh-Hant", "台灣"),
        ("軟件裏的羣眾起牀了", "zh-Hant", "軟件裡的群眾起床了"),
        ("一只猫", "zh-Hant", "一隻貓"),
        ("U盘", "zh-Hant", "隨身碟"),
        ("U盘", "zh-Hant-HK", "U盤"),
        ("乾隆皇帝", "zh-Hans", "乾隆皇帝"),
        ("這是头发", "zh-Hant", "這是頭髮"),
        ("Open the 软件 in Windows", "zh-Hant", "Open the 軟體 in Windows"),
    ],
)
def test_a_text_takes_the_form_that_is_asked_for(text: str, tag: str, expected: str) -> None:
    assert to_form(text, tag) == expected


@pytest.mark.parametrize("text", ["這份文件在台灣很重要", "他在學校的程序", "為什麼只有你"])
def test_words_of_a_text_that_is_traditional_already_are_left(text: str) -> None:
    assert to_form(text, "zh-Hant") == text
    assert is_form(text, "zh-Hant")


@pytest.mark.parametrize("tag", FORMS)
@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t ",
        "Hello, “world” — it’s 3,5 %",
        "日本語の国と学校です",
        "대한민국 國會",
        "ひらがな",
        "Привет",
        "\ue000 \uf8ff \U000f0000 {0} @1# <b0></b0> X2X ⟦3⟧ __4__ 😀👩‍🚀",
        "a\x00b\x00",
        "\ud800 \udfff",
        "A" * 100_000,
    ],
)
def test_what_is_no_chinese_stays(text: str, tag: str) -> None:
    assert to_form(text, tag) == text
    assert is_form(text, tag)


@pytest.mark.parametrize("tag", ["en", "ja", "ko", "zh-", "", "lzh"])
def test_other_languages_have_no_form(tag: str) -> None:
    assert to_form(SIMPLIFIED, tag) == SIMPLIFIED
    assert is_form(TAIWAN, tag)


@pytest.mark.parametrize(
    ("text", "tag", "expected"),
    [
        ("软件\x00软件", "zh-Hant", "軟體\x00軟體"),
        ("\x00軟體\x00", "zh-Hans", "\x00软体\x00"),
        ("软件\ud800软件\udfff", "zh-Hant", "軟體\ud800軟體\udfff"),
        ("<b0>软件</b0>{0}\ue000鼠标@1#😀", "zh-Hant", "<b0>軟體</b0>{0}\ue000滑鼠@1#😀"),
        ("https://例子.cn/a?b=c 软件 `x_y`\r\n", "zh-Hant", "https://例子.cn/a?b=c 軟體 `x_y`\r\n"),
        (ABOUT_A_JAPANESE_FILM, "zh-Hans", ABOUT_A_JAPANESE_FILM),
    ],
)
def test_what_stands_between_chinese_stays(text: str, tag: str, expected: str) -> None:
    assert to_form(text, tag) == expected


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("中文", FORMS),
        ("你好", FORMS),
        ("公里皇后", FORMS),
        ("软件", ("zh-Hans",)),
        ("軟體", ("zh-Hant", "zh-Hant-HK")),
        ("這裡", ("zh-Hant", "zh-Hant-HK")),
        ("這裏", ("zh-Hant-HK",)),
        ("臥室", ("zh-Hant",)),
        ("這是头发", ()),
        (SIMPLIFIED, ("zh-Hans",)),
        (TAIWAN, ("zh-Hant", "zh-Hant-HK")),
        (HONG_KONG, ("zh-Hant-HK",)),
    ],
)
def test_a_form_is_recognized_by_its_characters(text: str, fits: tuple[str, ...]) -> None:
    assert tuple(tag for tag in FORMS if is_form(text, tag)) == fits


@pytest.mark.parametrize("tag", FORMS)
@pytest.mark.parametrize("text", [SIMPLIFIED, TAIWAN, HONG_KONG, "卧室里", "温泉", "着火了", "说话", "文件", "面条"])
def test_a_text_in_its_form_is_recognized_and_stays(text: str, tag: str) -> None:
    once = to_form(text, tag)
    assert is_form(once, tag)
    assert to_form(once, tag) == once


@settings(deadline=None)
@given(st.text(), st.sampled_from(FORMS))
def test_other_scripts_are_never_touched(text: str, tag: str) -> None:
    others = "".join(character for character in text if script_of(character) != "Hani" and not _is_radical(character))
    assert to_form(others, tag) == others
    assert to_form(f"国{others}", tag)[1:] == others


def _is_radical(character: str) -> bool:
    return "\u2e80" <= character <= "\u2fdf" or "\uf900" <= character <= "\ufaff" or character >= "\U00020000"


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=50), st.sampled_from(FORMS))
def test_any_text_can_be_converted(text: str, tag: str) -> None:
    surrogates = [character for character in text if "\ud800" <= character <= "\udfff"]
    converted = to_form(f"{text}\x00软件", tag)
    assert [character for character in converted if "\ud800" <= character <= "\udfff"] == surrogates
    assert converted.endswith(("\x00软件", "\x00軟體", "\x00軟件"))
    assert is_form(text, tag) in (True, False)


def test_threads_share_the_converters() -> None:
    work = [(text, tag) for text in (SIMPLIFIED, TAIWAN, HONG_KONG) for tag in FORMS] * 50
    alone = [to_form(text * 20, tag) for text, tag in work]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda job: to_form(job[0] * 20, job[1]), work))
    assert together == alone

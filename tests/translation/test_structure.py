import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.translation.pieces import STAND_IN, Mask
from app.translation.structure import Split, Structure, take_apart

FIRST = "This is the first sentence of a text that goes on for quite a while before it ends here."
SECOND = "And this is the second one, which has just as much to say about nothing in particular!"
"""Too long to be packed together."""

NASTY = [
    "Hello there, my friend. ",
    "Wort. ",
    "你好。",
    "今天天气很好，我们去公园散步。",
    "สวัสดี",
    "e\u0301",
    "\u0301",
    "a",
    "Z.",
    "1. ",
    "- ",
    "> ",
    "| ",
    " |",
    "](x)",
    "# ",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\n\n",
    "\u2028",
    "\u00a0",
    "\u200b",
    "\u200d",
    "\u200f",
    "\ufeff",
    "\x85",
    "\x1c",
    "😀",
    "👩‍👩‍👧",
    "🇩🇪",
    "1️⃣",
    "\ud800",
    "@0#",
    "{0}",
    "{{name}}",
    "%s",
    "%%",
    "⟦0⟧",
    "X0X",
    "__0__",
    "(0)",
    "<m0/>",
    "<g0>",
    "</g0>",
    "<b>",
    "</b>",
    "<i>",
    "</i>",
    "<p>",
    "</p>",
    "<br>",
    "<a href='x>y'>",
    '<a title="a < b">',
    "</a>",
    "<code>",
    "</code>",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?",
    "?>",
    "<!DOCTYPE html>",
    "<",
    ">",
    "&",
    "&amp;",
    "&lt;",
    "&nbsp;",
    "&#39;",
    "&#x1F600;",
    "&hearts;",
    "&zwj;",
    "&nope;",
    "&#0;",
    "https://a.b/c_(d)?e=1&amp;f=2",
    "www.",
    "a.b@c.de",
    "`",
    "``",
    "```\n",
    "~~~\n",
    "v1.2.3",
    "192.168.0.1",
    "@user",
    "#tag",
    "/usr/bin/",
    "C:\\a",
    "!",
    "?",
    "。",
    "…",
    '"',
    "(",
    ")",
    STAND_IN,
    "\x00",
    "No. 5 ",
    "z.B. ",
]
TEXTS = st.one_of(st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=4)), max_size=30).map("".join), st.text())


def apart(
    text: str, markup: str | None = None, split: Split = "sentences", most: int = 500, **tags: set[str]
) -> Structure:
    return take_apart(text, markup=markup, split=split, most=most, **tags)  # type: ignore[arg-type]  # short for tests


def originals(structure: Structure) -> list[str]:
    return [unit.original for unit in structure.units]


@settings(max_examples=600, deadline=None)
@given(
    TEXTS,
    st.sampled_from(["html", "xml", None]),
    st.sampled_from(["sentences", "lines", "none"]),
    st.sampled_from([1, 7, 60, 5000]),
)
def test_a_text_is_its_own_units_put_together(text: str, markup: str | None, split: Split, most: int) -> None:
    structure = apart(text, markup, split, most)

    assert structure.put_together(originals(structure)) == text
    assert len(structure.frame) == len(structure.units) + 1
    for unit in structure.units:
        assert any(map(str.isalpha, unit.plain))
        first, last = unit.runs[0], unit.runs[-1]
        if isinstance(first, str):
            assert first == first.lstrip()
        if isinstance(last, str):
            assert last == last.rstrip()


@settings(deadline=None)
@given(TEXTS, st.sampled_from(["html", "xml", None]), st.integers(1, 80))
def test_no_unit_is_longer_than_allowed_unless_one_sign_is(text: str, markup: str | None, most: int) -> None:
    for unit in apart(text, markup, "sentences", most).units:
        assert len(unit.plain) <= most or len(unit.masks) > 0 or most < 8 or "\u200d" in text or "\u0301" in text


PIECES = [
    "<",
    "{",
    "@",
    "`",
    " ",
    '<a "',
    "<!--",
    "<?",
    "&",
    "http://",
    "a.",
    "a@",
    "```\n",
    "~~~~\n````\n",
    "<a><code>",
    "</a>",
    "%",
    "[[",
    "\n",
    "- ",
    "/a",
    "😀",
    "#",
    "<a '\"",
    "a\u0301",
    " \n",
    "x. ",
    "。",
    "a<b>",
    "<a>",
]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("markup", [None, "html"])
def test_a_long_text_of_one_piece_is_taken_apart(piece: str, markup: str | None) -> None:
    """Each would take minutes if a pattern went back over it."""
    text = (piece * 20_000)[:20_000]
    structure = apart(text, markup, most=1000)

    assert structure.put_together(originals(structure)) == text


@pytest.mark.parametrize(
    ("text", "units", "frame"),
    [
        ("", [], [""]),
        (" \n\n", [], [" \n\n"]),
        ("12.5 % – 100 €\n😀", [], ["12.5 % – 100 €\n😀"]),
        (
            "  Hello there.  \r\n\r\n\tHow are you today?\n",
            ["Hello there.", "How are you today?"],
            ["  ", "  \r\n\r\n\t", "\n"],
        ),
        (
            f"{FIRST} {SECOND}",
            [
                "This is the first sentence of a text that goes on for quite a while before it ends here.",
                "And this is the second one, which has just as much to say about nothing in particular!",
            ],
            ["", " ", ""],
        ),
        ("Yes. No. I mean that I am not sure about it.", ["Yes. No. I mean that I am not sure about it."], ["", ""]),
        (
            "# Title\n> - [x] Done\n1. One\n(2) Two\na) Letter\n• Dot\n3、三",
            ["Title", "Done", "One", "Two", "Letter", "Dot", "三"],
            ["# ", "\n> - [x] ", "\n1. ", "\n(2) ", "\na) ", "\n• ", "\n3、", ""],
        ),
        ("Before\n```py\nx = 'word'\n```\nAfter", ["Before", "After"], ["", "\n```py\nx = 'word'\n```\n", ""]),
        ("Before\n```py\nnot closed", ["Before", "```py", "not closed"], ["", "\n", "\n", ""]),
        ("~~~~\n```\n~~~\n~~~~ \nb", ["b"], ["~~~~\n```\n~~~\n~~~~ \n", ""]),
        ("One\n\n%%\n\nTwo", ["One", "Two"], ["", "\n\n%%\n\n", ""]),
        (
            "| One | {0} two |\n|---|---|\n|Three|4",
            ["One", "two", "Three"],
            ["| ", " | {0} ", " |\n|---|---|\n|", "|4"],
        ),
        ("One\u2028Two\x85Three", ["One", "Two", "Three"], ["", "\u2028", "\x85", ""]),
        ("\ufeffOne\u200b", ["One"], ["\ufeff", "\u200b"]),
        ("{0} is {1}", ["is"], ["{0} ", " {1}"]),
        ("你好，世界。我今天去商店买了很多东西。", ["你好，世界。我今天去商店买了很多东西。"], ["", ""]),
        (
            "今天天气很好，我们一家人和几个老朋友一起去城外的公园里散步，在湖边的大树下坐了整整一个下午，直到太阳下山。我今天去市中心新开的商店买了很多东西，有给孩子们的书和玩具，也有晚上要用的蔬菜水果，还有一件冬天穿的外套。",
            [
                "今天天气很好，我们一家人和几个老朋友一起去城外的公园里散步，在湖边的大树下坐了整整一个下午，直到太阳下山。",
                "我今天去市中心新开的商店买了很多东西，有给孩子们的书和玩具，也有晚上要用的蔬菜水果，还有一件冬天穿的外套。",
            ],
            ["", "", ""],
        ),
    ],
)
def test_plain_text_has_sentences_and_a_frame(text: str, units: list[str], frame: list[str]) -> None:
    structure = apart(text)

    assert originals(structure) == units
    assert list(structure.frame) == frame


@pytest.mark.parametrize(
    ("text", "masks"),
    [
        ("See @0#link@1# now", ["@0#", "@1#"]),
        (
            "A {0} b {{name}} c {{ user.name }} d {name} e ${x} f #{y} g {} h",
            ["{0}", "{{name}}", "{{ user.name }}", "{name}", "${x}", "#{y}", "{}"],
        ),
        ("A %s b %1$s c %d d %.2f e %(name)s f %@ g %% h", ["%s", "%1$s", "%d", "%.2f", "%(name)s", "%@", "%%"]),
        ("A [[1]] b ⟦0⟧ c 【3】 d __0__ e __MAX_SIZE__ f", ["[[1]]", "⟦0⟧", "【3】", "__0__", "__MAX_SIZE__"]),
        ("Now 50%discount and 100% fun {hello world} in List [1] for x", []),
        (
            "See https://x.y/z_(a)?b=1&c={id}#d, (http://a.b/) or www.",
            ["https://x.y/z_(a)?b=1&c={id}#d", "http://a.b/"],
        ),
        ("请访问https://example.com/路径。谢谢", ["https://example.com/"]),
        ("At https://de.wikipedia.org/wiki/Köln. It is", ["https://de.wikipedia.org/wiki/Köln"]),
        (
            "Go to example.com, news.example.co.uk/a/b. Then fin.De la",
            ["example.com", "news.example.co.uk/a/b"],
        ),
        ("Mail john.doe+x@mail.example.org. Or mailto:a@b.c. now", ["john.doe+x@mail.example.org", "mailto:a@b.c"]),
        (
            "In /usr/local/bin, ~/notes or ./run.sh and C:\\Temp\\x.txt, src/app/main.py here",
            ["/usr/local/bin", "~/notes", "./run.sh", "C:\\Temp\\x.txt", "src/app/main.py"],
        ),
        ("The file config.yaml and and/or, he/she/they, 24/7 here", ["config.yaml"]),
        ("Run `ls -l` and ``a ` b`` for x", ["`ls -l`", "``a ` b``"]),
        ("Ask @user_1 about #Kölsch and #中文 not #1 or C# here", ["@user_1", "#Kölsch", "#中文"]),
        (
            "Use v1.2.3 or 2.10.0-rc.1 at 192.168.0.1:80 on 2024-05-06T10:00Z ok",
            ["v1.2.3", "2.10.0-rc.1", "192.168.0.1:80", "2024-05-06T10:00Z"],
        ),
        ("It cost 1.234.567 on 12.05.2024, 3,5 km at 10:30 for x", []),
        ("Id 123e4567-e89b-12d3-a456-426614174000 is here", ["123e4567-e89b-12d3-a456-426614174000"]),
        ("Nice 😀👍🏽 and 👩‍👩‍👧 in 🇩🇪 or 1️⃣ or ❤️ and ©️ x", ["😀👍🏽", "👩‍👩‍👧", "🇩🇪", "1️⃣", "❤️", "©️"]),
        (
            'The <b0>bold</b0> one <x id="1"/> and <0/> but a < b > c <br> x',
            ["<b0>", "</b0>", '<x id="1"/>', "<0/>", "<br>"],
        ),
        ("An [apple](https://a.b/c_(d)) and ![pear](a.png) or (x)", ["](https://a.b/c_(d))", "](a.png)"]),
        ("R&D; and &amp; or &nope; x", ["&amp;"]),
    ],
)
def test_what_no_engine_may_change_is_masked(text: str, masks: list[str]) -> None:
    structure = apart(text, split="lines")

    assert [mask.original for unit in structure.units for mask in unit.masks] == masks


def test_masks_have_kinds() -> None:
    (unit,) = apart(
        "Run `x` at <b>home</b>, <br> 😀 a@b.de, https://c.d, &amp; v1.0 @me ./a {0} now", split="lines"
    ).units

    assert [run.kind for run in unit.runs if isinstance(run, Mask)] == [
        "code",
        "tag-open",
        "tag-close",
        "tag-empty",
        "emoji",
        "email",
        "url",
        "entity",
        "number",
        "mention",
        "path",
        "placeholder",
    ]


@pytest.mark.parametrize(
    ("split", "most", "units"),
    [
        ("none", 500, ["One line is here.\n\n- Two lines. And more."]),
        ("none", 30, ["One line is here.", "Two lines. And more."]),
        ("lines", 500, ["One line is here.", "Two lines. And more."]),
        ("lines", 13, ["One line is", "here.", "Two lines.", "And more."]),
        ("sentences", 500, ["One line is here.", "Two lines. And more."]),
        ("sentences", 13, ["One line is", "here.", "Two lines.", "And more."]),
    ],
)
def test_the_caller_chooses_how_large_units_are(split: Split, most: int, units: list[str]) -> None:
    assert originals(apart(" One line is here.\n\n- Two lines. And more.\n", split=split, most=most)) == units


def test_short_sentences_are_joined_up_to_a_width() -> None:
    units = apart("Yes. " * 100).units

    assert [len(unit.plain) for unit in units] == [199, 199, 99]


def test_a_cut_leaves_an_accent_with_its_letter() -> None:
    assert originals(apart("e\u0301" * 7, most=5)) == ["e\u0301" * 2, "e\u0301" * 2, "e\u0301" * 2, "e\u0301"]


def test_separators_of_paragraphs_split_whatever_is_chosen() -> None:
    assert originals(apart("One\n\n%%\n\nTwo\nThree", split="none")) == ["One", "Two\nThree"]


@pytest.mark.parametrize(
    ("text", "markup", "translations", "expected"),
    [
        (
            "今天天气很好，我们一家人和几个老朋友一起去城外的公园里散步，在湖边的大树下坐了整整一个下午，直到太阳下山。我今天去市中心新开的商店买了很多东西，有给孩子们的书和玩具，也有晚上要用的蔬菜水果，还有一件冬天穿的外套。",
            None,
            ["The weather is nice.", "I went shopping."],
            "The weather is nice. I went shopping.",
        ),
        (
            "今天天气很好，我们一家人和几个老朋友一起去城外的公园里散步，在湖边的大树下坐了整整一个下午，直到太阳下山。我今天去市中心新开的商店买了很多东西，有给孩子们的书和玩具，也有晚上要用的蔬菜水果，还有一件冬天穿的外套。",
            None,
            ["天気がいいです。", "買い物に行きました。"],
            "天気がいいです。買い物に行きました。",
        ),
        (
            "<b>今天天气很好，我们一家人和几个老朋友一起去城外的公园里散步，在湖边的大树下坐了整整一个下午，直到太阳下山。</b><i>我今天去市中心新开的商店买了很多东西，有给孩子们的书和玩具，也有晚上要用的蔬菜水果，还有一件冬天穿的外套。</i>",
            "html",
            ["The weather is nice.", "I went shopping."],
            "<b>The weather is nice.</b> <i>I went shopping.</i>",
        ),
        (
            "今天天气很好，我们一家人和几个老朋友一起去城外的公园里散步，在湖边的大树下坐了整整一个下午，直到太阳下山。{0}我今天去市中心新开的商店买了很多东西，有给孩子们的书和玩具，也有晚上要用的蔬菜水果，还有一件冬天穿的外套。",
            None,
            ["Nice.", "I went."],
            "Nice. {0} I went.",
        ),
        (
            f"{FIRST} {SECOND}",
            None,
            ["第一句。", "第二句。"],
            "第一句。 第二句。",
        ),
        ("今天天气很好，\n我今天去", None, ["Nice,", "I went"], "Nice,\nI went"),
        ("<p>今天天气</p><p>我今天去</p>", "html", ["Nice", "I went"], "<p>Nice</p><p>I went</p>"),
        (
            "今天天气很好，我们一家人和几个老朋友一起去城外的公园里散步，在湖边的大树下坐了整整一个下午，直到太阳下山。我今天去市中心新开的商店买了很多东西，有给孩子们的书和玩具，也有晚上要用的蔬菜水果，还有一件冬天穿的外套。",
            None,
            ["", ""],
            "",
        ),
    ],
)
def test_sentences_get_a_space_between_them_where_only_the_translation_needs_it(
    text: str, markup: str | None, translations: list[str], expected: str
) -> None:
    assert apart(text, markup).put_together(translations) == expected


def test_every_unit_needs_its_translation() -> None:
    with pytest.raises(ValueError, match="1 translations for 2 units"):
        apart("One\nTwo").put_together(["Eins"])


def test_a_unit_has_room_for_a_character() -> None:
    with pytest.raises(ValueError, match="at least one character"):
        apart("One", most=0)

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.translation.masks import (
    BRACKETS,
    FOR_CHAT_MODELS,
    FOR_TRANSLATION_MODELS,
    LETTERS,
    PARENTHESES,
    TAGS,
    UNDERSCORES,
    Style,
    render,
    restore,
    split_at_masks,
    tokens,
    without_tokens,
)
from app.translation.pieces import Unit
from app.translation.structure import take_apart
from tests.translation.test_structure import TEXTS

STYLES = [*FOR_TRANSLATION_MODELS, TAGS]


def unit_of(text: str, markup: str | None = None) -> Unit:
    (unit,) = take_apart(text, markup=markup, split="lines", most=1000).units  # type: ignore[arg-type]  # short
    return unit


PLAIN = unit_of("Hello @0#link@1# world, see ({0}) now.")
HTML = unit_of("Click <b>here</b> &amp; <i>go</i> <code>x</code> now&#39;s.", "html")


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.sampled_from(["html", "xml", None]), st.sampled_from(STYLES))
def test_an_engine_that_changes_nothing_gives_the_original(text: str, markup: str | None, style: Style) -> None:
    for unit in take_apart(text, markup=markup, most=300).units:  # type: ignore[arg-type]  # drawn from its values
        assert restore(unit, render(unit, style), style) == unit.original


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.sampled_from(["html", "xml", None]), st.sampled_from(STYLES))
def test_tokens_are_told_from_the_text_around_them(text: str, markup: str | None, style: Style) -> None:
    for unit in take_apart(text, markup=markup, most=300).units:  # type: ignore[arg-type]  # drawn from its values
        restored = restore(unit, f"Ω {render(unit, style)} Ω", style)

        assert restored is not None
        masks = [mask.original for mask in unit.masks]
        position = 0
        for mask in masks:
            position = restored.index(mask, position) + len(mask)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.sampled_from(["html", "xml", None]))
def test_the_last_resort_keeps_everything(text: str, markup: str | None) -> None:
    for unit in take_apart(text, markup=markup, most=300).units:  # type: ignore[arg-type]  # drawn from its values
        structure = split_at_masks(unit)

        assert structure.put_together([part.original for part in structure.units]) == unit.original
        assert all(not part.masks and part.plain == part.plain.strip() for part in structure.units)


@pytest.mark.parametrize(
    ("style", "rendered"),
    [
        (LETTERS, "Hello X0X link X1X world, see (X2X) now."),
        (UNDERSCORES, "Hello __0__ link __1__ world, see (__2__) now."),
        (PARENTHESES, "Hello (0)link(1) world, see ((2)) now."),
        (BRACKETS, "Hello ⟦0⟧link⟦1⟧ world, see (⟦2⟧) now."),
        (TAGS, "Hello <m0/>link<m1/> world, see (<m2/>) now."),
    ],
)
def test_every_style_has_its_tokens(style: Style, rendered: str) -> None:
    assert render(PLAIN, style) == rendered


def test_tags_are_written_in_pairs_for_chat_models() -> None:
    assert render(HTML, TAGS) == "Click <g0>here</g0> & <g2>go</g2> <m4/> now's."
    assert tokens(HTML, TAGS) == ("<g0>", "</g0>", "<g2>", "</g2>", "<m4/>")
    assert tokens(HTML, BRACKETS) == ("⟦0⟧", "⟦1⟧", "⟦2⟧", "⟦3⟧", "⟦4⟧")
    assert FOR_CHAT_MODELS == (TAGS, BRACKETS)


def test_numbers_of_the_text_are_not_used_for_tokens() -> None:
    assert render(unit_of("From 0 to 2 and X1X, {a} or {b} ok 6"), LETTERS) == "From 0 to 2 and X1X, X3X or X4X ok 6"
    assert (
        render(unit_of("From 0 to ０２, {a} or {b} or {c} 3 4 ok"), BRACKETS)
        == "From 0 to ０２, ⟦5⟧ or ⟦6⟧ or ⟦7⟧ 3 4 ok"
    )


@pytest.mark.parametrize(
    ("style", "translated", "expected"),
    [
        (
            LETTERS,
            "Bonjour X 0 X lien x1x monde, voir ( X2X ) maintenant.",
            "Bonjour @0#lien@1# monde, voir ({0}) maintenant.",
        ),
        (LETTERS, "X2X Bonjour X0X lien X1X monde.", "{0} Bonjour @0#lien@1# monde."),
        (LETTERS, "Х0Х lien Х1Х, voir Х2Х", "@0#lien@1#, voir {0}"),
        (UNDERSCORES, "Hallo _ _0_ _Link_1_ Welt ＿＿２＿＿.", "Hallo @0#Link@1# Welt {0}."),
        (PARENTHESES, "你好（０）链接（1）世界（2）。", "你好@0#链接@1#世界{0}。"),
        (BRACKETS, "你好⟦0⟧链接【1】世界，参见（[[２]]）。", "你好@0#链接@1#世界，参见（{0}）。"),
        (BRACKETS, "  Hola ⟦0⟧enlace⟦1⟧mundo ⟦2⟧ \n", "Hola @0#enlace@1# mundo {0}"),
        (TAGS, "Hola &lt;m0/&gt;enlace< M1 / >mundo ＜m2＞", "Hola @0#enlace@1# mundo {0}"),
        (BRACKETS, "⟦2⟧ ⟦0⟧⟦1⟧", "{0} @0#@1#"),
    ],
)
def test_what_engines_do_to_tokens_is_understood(style: Style, translated: str, expected: str) -> None:
    assert restore(PLAIN, translated, style) == expected


@pytest.mark.parametrize(
    ("unit", "style", "translated"),
    [
        (PLAIN, LETTERS, ""),
        (PLAIN, LETTERS, "Bonjour X0X lien monde X2X"),
        (PLAIN, LETTERS, "Bonjour X0X lien X1X monde X2X X2X"),
        (PLAIN, LETTERS, "Bonjour X0X lien X1X monde X2X X3X"),
        (PLAIN, TAGS, "Hola </m0>enlace<m1/>mundo <m2/>"),
        (HTML, TAGS, "<g0>Ici <g2>là</g0> x</g2> <m4/>"),
        (HTML, TAGS, "</g0>Ici<g0> <g2>là</g2> <m4/>"),
        (HTML, BRACKETS, "⟦1⟧Ici⟦0⟧ ⟦2⟧là⟦3⟧ ⟦4⟧"),
        (HTML, BRACKETS, "⟦0⟧Ici⟦2⟧ ⟦1⟧là⟦3⟧ ⟦4⟧"),
        (unit_of("Say <b>hello and <i>x</i> go", "html"), BRACKETS, "⟦1⟧Dis ⟦0⟧ bonjour⟦2⟧ va"),
    ],
)
def test_a_translation_without_the_structure_is_refused(unit: Unit, style: Style, translated: str) -> None:
    assert restore(unit, translated, style) is None


def test_tags_that_cross_in_the_source_may_do_so_again() -> None:
    unit = unit_of("Say <b>hello <i>to</b> the</i> world", "html")

    assert (
        restore(unit, "Dis ⟦0⟧bonjour ⟦1⟧au⟦2⟧ grand⟦3⟧ monde", BRACKETS) == "Dis <b>bonjour <i>au</b> grand</i> monde"
    )


@pytest.mark.parametrize(
    ("source", "translated", "expected"),
    [
        (
            "Click <b>here</b> &amp; <i>go</i> now",
            "<g2>Va</g2> & clique < g0 > ici </ g0 >",
            "<i>Va</i> &amp; clique <b>ici</b>",
        ),
        (
            "点击<b>这里</b>打开<code>x</code>文件。",
            "Click<g0> here </g0>to open<m2/>file.",
            "Click <b>here</b> to open <code>x</code> file.",
        ),
        ("Click <b>here</b> now", "点击<g0>这里</g0>吧", "点击<b>这里</b>吧"),
        ("Tom&nbsp;&amp; <b>Al</b> go", "Tom\xa0& < <g0>Al</g0> los", "Tom&nbsp;&amp; &lt; <b>Al</b> los"),
        ("Tom &amp; <b>Al</b> go", "Tom &amp;\xa0<g0>Al</g0> los", "Tom &amp;\xa0<b>Al</b> los"),
        ("It&#39;s <b>Al</b>&#39;s", "It's <g0>Bo</g0>'s", "It&#39;s <b>Bo</b>&#39;s"),
        (
            "Write &quot;&amp;amp;&quot; <b>now</b> please",
            "Schreib &amp; <g0>jetzt</g0>",
            "Schreib &amp;amp; <b>jetzt</b>",
        ),
        ("One <br-x/> <b>two</b> three", "Un <m0/><g1>deux</g1> trois", "Un <br-x/> <b>deux</b> trois"),
        ("One <br-x/><b>two</b> three", "Un <m0/> <g1>deux</g1> trois", "Un <br-x/><b>deux</b> trois"),
        ("No tags at all", " Keine Tags (1) < 2 ", "Keine Tags (1) &lt; 2"),
    ],
)
def test_text_is_encoded_and_spaced_as_in_the_source(source: str, translated: str, expected: str) -> None:
    assert restore(unit_of(source, "html"), translated, TAGS) == expected


def test_the_texts_between_masks_can_be_translated_by_themselves() -> None:
    structure = split_at_masks(unit_of("点击&nbsp;<b>这里</b>打开<code>x</code>3<i>文件</i>。", "html"))

    assert [unit.runs for unit in structure.units] == [("点击",), ("这里",), ("打开",), ("文件",)]
    assert structure.frame == ("", "&nbsp;<b>", "</b>", "<code>x</code>3<i>", "</i>。")
    assert structure.put_together(["Click", "here", "to open", "file"]) == (
        "Click&nbsp;<b>here</b> to open <code>x</code>3 <i>file</i>。"
    )


def test_a_space_stands_beside_an_element_that_replaces_a_word() -> None:
    structure = split_at_masks(unit_of("打开<code>x</code>文件，{0}关", "html"))

    assert structure.put_together(["Open", "file,", "off"]) == "Open <code>x</code> file, {0} off"


def test_a_number_of_the_source_in_brackets_is_no_invented_token() -> None:
    unit = unit_of("Founded in 2019, {0} now")

    assert restore(unit, "Gegründet (2019), (0) jetzt", PARENTHESES) == "Gegründet (2019), {0} jetzt"
    assert restore(unit, "Gegründet (2018), (0) jetzt", PARENTHESES) is None


@pytest.mark.parametrize("style", [*FOR_TRANSLATION_MODELS, TAGS])
def test_a_translation_is_judged_without_its_tokens(style: Style) -> None:
    unit = unit_of("One {0} two")

    assert without_tokens(unit, render(unit, style), style) == "One  two"


def test_without_tokens_there_is_only_text() -> None:
    assert without_tokens(HTML, "Klick <g0>hier</g0> < g2 >los</g2>", TAGS) == "Klick hier los"

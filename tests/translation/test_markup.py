import pytest

from app.translation.structure import take_apart


def html(text: str, **tags: set[str]) -> list[str]:
    structure = take_apart(text, markup="html", most=1000, **tags)  # type: ignore[arg-type]  # only sets of tags
    assert structure.put_together([unit.original for unit in structure.units]) == text
    return [unit.original for unit in structure.units]


def xml(text: str, **tags: set[str]) -> list[str]:
    structure = take_apart(text, markup="xml", most=1000, **tags)  # type: ignore[arg-type]  # only sets of tags
    return [unit.original for unit in structure.units]


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("<p>One</p><p>Two</p>", ["One", "Two"]),
        ("<UL><LI>One<LI>Two</UL>", ["One", "Two"]),
        ("One<br/>Two<hr>Three", ["One", "Two", "Three"]),
        ("Click <a href='x'>here</a> now", ["Click <a href='x'>here</a> now"]),
        ("<b>All of it</b>", ["All of it"]),
        ("<b><i>All</i> of it</b>", ["<i>All</i> of it"]),
        ("Go <b>on</b>", ["Go <b>on</b>"]),
        ("<b>On</b> you go", ["<b>On</b> you go"]),
        ("<b>1.</b> Text<sup>2</sup>", ["Text"]),
        ("<b></b>Text</i>", ["Text"]),
        ("<td> One <span></span></td>", ["One"]),
        ("<b>Say hello to him now. And say goodbye to her.</b>", ["Say hello to him now. And say goodbye to her."]),
        ("Run <code>ls <b>x</b></code> now", ["Run <code>ls <b>x</b></code> now"]),
        ("Run <code>ls now", ["Run <code>ls now"]),
        ("a <kbd>b <kbd>c</kbd></kbd> d", ["a <kbd>b <kbd>c</kbd></kbd> d"]),
        ("One<pre>Two</pre><script>if (a<b) three</script>Four<style>five</style>", ["One", "Four"]),
        ("One <span translate=no>two</span> three", ["One <span translate=no>two</span> three"]),
        ("One <div translate='no'>two</div> three", ["One", "three"]),
        ('One <i class="a notranslate b">two</i> three', ['One <i class="a notranslate b">two</i> three']),
        ("<i class='notranslate'>two</i> three", ["three"]),
        ("One<!-- two <p> --> three", ["One<!-- two <p> --> three"]),
        ("One <!-- two", ["One <!-- two"]),
        ("<!DOCTYPE html>One", ["One"]),
        ("One <? two ?> three <![CDATA[four]]> five", ["One <? two ?> three <![CDATA[four]]> five"]),
        ("One\n  line\nhere\n\nTwo", ["One\n  line\nhere", "Two"]),
        ("a < b and c > d", ["a < b and c > d"]),
        ('x <a title="1 < 2 > 1">y</a> z', ['x <a title="1 < 2 > 1">y</a> z']),
        ('x <a title="1 > y z', ['x <a title="1 > y z']),
        ('x <a title="1>y</a> z', ['x <a title="1>y</a> z']),
        ("<b>a <i>b</b> c</i> d", ["<b>a <i>b</b> c</i> d"]),
        ("See https://a.b/?c=1&amp;d=2 or {0} now", ["See https://a.b/?c=1&amp;d=2 or {0} now"]),
    ],
)
def test_html_has_units_between_its_blocks(text: str, units: list[str]) -> None:
    assert html(text) == units


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("Tom &amp; Jerry&#39;s &lt;b&gt; &eacute;", ["Tom & Jerry's <b> é"]),
        ("one&nbsp;two&nbsp;", ["one\xa0two"]),
        ("one\n\t two", ["one two"]),
        ("a & b &nope; c&copy d", ["a & b ", "&nope;", " c&copy d"]),
        (
            "a &hearts; b &#x1F600; c &zwj; d &#0; e",
            ["a ", "&hearts;", " b ", "&#x1F600;", " c ", "&zwj;", " d ", "&#0;", " e"],
        ),
    ],
)
def test_an_engine_sees_characters_instead_of_references(text: str, runs: list[str]) -> None:
    (unit,) = take_apart(text, markup="html", most=1000).units

    assert "".join(run if isinstance(run, str) else run.original for run in unit.runs) == "".join(runs)
    assert unit.plain == "".join(run for run in runs if not (run.startswith("&") and run.endswith(";")))


def test_xml_splits_only_where_it_is_told_to() -> None:
    text = "<d><p>One <x id='1'/>two</p><p>three</p></d>\nFour"

    assert xml(text) == ["<p>One <x id='1'/>two</p><p>three</p>", "Four"]
    assert xml(text, splitting_tags={"p"}) == ["One <x id='1'/>two", "three", "Four"]
    assert xml(text, splitting_tags={"P"}) == xml(text)


def test_the_caller_names_tags_that_split_or_are_left_alone() -> None:
    assert html("One <X>two</X> three", splitting_tags={"x"}) == ["One", "two", "three"]
    assert html("One <p>two</p> three", non_splitting_tags={"P"}) == ["One <p>two</p> three"]
    assert html("One <x>two</x> three <y>four</y>", ignore_tags={"x", "Y"}) == ["One <x>two</x> three"]
    assert xml("One <x>two</x>", ignore_tags={"x"}) == ["One"]

"""What must survive a translation, sent through a running server: white space, placeholders, markup, order, length."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.interpreting import calls, said
from tests.serving import Cloudflare, connected, flarelay

FEW = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
"""Each example is a request; the fixture is a client, which has no state."""

WORDS = st.sampled_from(["the weather", "a boat", "this morning", "her brother", "and the sea", "nobody knows"])
MASKS = st.sampled_from(
    ["@0#", "{0}", "{name}", "https://example.com/a?b=c", "%s", "`x = 1`", "me@example.com", "🙂", "42"]
)
SPACES = st.sampled_from([" ", "\n", "\r\n", "\n\n", "\t", "  ", "\r\n\r\n", "\n- ", "\n\n%%\n\n"])
PIECES = st.lists(st.tuples(st.one_of(WORDS, MASKS), SPACES), min_size=1, max_size=12)
TEXTS = PIECES.map(lambda pieces: "".join(part for piece in pieces for part in piece))
KEPT = re.compile(r"@0#|\{\w+\}|https://\S+|%s|`x = 1`|me@example\.com|🙂|42|%%")
LINE_ENDS = re.compile(r"\r\n|\n")


def translated(http: httpx2.Client, text: str, target: str = "DE", **options: Any) -> str:
    """It comes back as one text, whatever it is."""
    body = {"text": text, "source_lang": "EN", "target_lang": target} | options
    response = http.post("/translate", json=body)
    assert response.status_code == 200, response.text
    return str(response.json()["data"])


@FEW
@given(text=TEXTS)
def test_placeholders_and_lines_survive(http: httpx2.Client, text: str) -> None:
    data = translated(http, text)
    assert Counter(KEPT.findall(data)) == Counter(KEPT.findall(text))
    assert LINE_ENDS.findall(data) == LINE_ENDS.findall(text)
    assert data[: len(data) - len(data.lstrip())] == text[: len(text) - len(text.lstrip())]
    assert data[len(data.rstrip()) :] == text[len(text.rstrip()) :]


@FEW
@given(lines=st.lists(st.tuples(WORDS, SPACES.filter(lambda space: "\n" in space)), min_size=1, max_size=8))
def test_each_line_is_translated_in_its_place(http: httpx2.Client, lines: list[tuple[str, str]]) -> None:
    data = translated(http, "".join(line + end for line, end in lines))
    assert data == "".join(said(line, "en", "de") + end for line, end in lines)


NAMES = st.sampled_from(["b", "i", "a", "span", "code"])
MARKUP = st.recursive(
    st.one_of(WORDS.map(lambda words: f" {words} "), st.just("<br/>"), st.just("&amp;")),
    lambda inner: st.tuples(NAMES, st.lists(inner, max_size=3)).map(
        lambda element: f"<{element[0]}>{''.join(element[1])}</{element[0]}>"
    ),
    max_leaves=8,
)
TAG = re.compile(r"</?\w+/?>|&amp;")


@FEW
@given(text=st.lists(MARKUP, min_size=1, max_size=4).map("".join), markup=st.sampled_from(["html", "xml"]))
def test_markup_stays_balanced(http: httpx2.Client, text: str, markup: str) -> None:
    data = translated(http, text, tag_handling=markup)
    assert Counter(TAG.findall(data)) == Counter(TAG.findall(text))
    open_tags: list[str] = []
    for tag in TAG.findall(data):
        if tag.startswith("</"):
            assert open_tags.pop() == tag[2:-1]
        elif not tag.endswith(("/>", ";")):
            open_tags.append(tag[1:-1])
    assert not open_tags


@FEW
@given(texts=st.lists(st.one_of(WORDS, st.sampled_from(["", " ", "\n", "42"])), min_size=1, max_size=20))
def test_lists_keep_order_and_count(http: httpx2.Client, texts: list[str]) -> None:
    body = {"text": texts, "source_lang": "EN", "target_lang": "DE"}
    rows = http.post("/v2/translate", json=body).json()["translations"]
    assert [row["text"] for row in rows] == [said(text, "en", "de") for text in texts]
    custom = http.post("/translate", json={"text_list": texts, "source_lang": "en", "target_lang": "de"}).json()
    assert [row["text"] for row in custom["translations"]] == [row["text"] for row in rows]


SURVIVORS = [
    "Read @0#the whole story@1# here.",
    "A {0}link{1} and {name}.",
    'A <b0>bold</b0> word and <x id="1"/> a sign.',
    "First part.\n\n%%\n\nSecond part.",
    "Fish &amp; chips &lt;here&gt;.",
    "  a\n\nb ",
    "Open https://example.com/path?a=1&b=%20c#d now, or write to me@example.com.",
    "Run `pip install flarelay` and wait 🙂 for 3.5 seconds, 1,000 times.",
    "```python\nprint('the sea')\n```\nThe code above is good.",
]
SURVIVES = re.compile(
    r"@\d#|\{\w+\}|</?b0>|<x id=\"1\"/>|%%|&\w+;|https://[a-z0-9./?=&%#]+|me@example\.com|`pip install flarelay`|🙂"
    r"|3\.5|1,000|```python\nprint\('the sea'\)\n```"
)


@pytest.mark.parametrize("text", SURVIVORS)
@pytest.mark.parametrize("options", [{}, {"model": "gpt-4o-mini"}, {"target_lang": "ZH-HANT"}])
def test_what_no_model_may_touch_survives(http: httpx2.Client, text: str, options: dict[str, Any]) -> None:
    data = translated(http, text, **options)
    assert data != text
    assert Counter(SURVIVES.findall(data)) == Counter(SURVIVES.findall(text))


ARTICLE = """\
<!DOCTYPE html>
<html lang="en"><head><title>A storm at sea</title><style>p { color: red }</style>
<script>let sea = "The sea & the <b>storm</b>";</script></head>
<body class="page" data-x='1 > 0'>
<!-- The weather was bad. -->
<h1>A storm &mdash; and a boat</h1>
<p>The <a href="/boats?id=1&amp;x=2" title="Boats">old boat</a> was <em>lost</em> in the storm.<br>
Nobody was hurt, said <strong>the doctor</strong>.</p>
<ul><li>One</li><li>The other <code>boat.find()</code> one</li></ul>
<pre>  keep   this
as it is</pre><img src="a.png" alt="The sea"/><hr>
<table><tr><td>Morning</td><td>12 boats</td></tr></table>
<p translate="no">Flarelay</p>
</body></html>
"""


def test_an_article_keeps_its_markup(http: httpx2.Client) -> None:
    data = translated(http, ARTICLE, tag_handling="html")
    tag = re.compile(r"<[^>]+>")
    assert Counter(tag.findall(data)) == Counter(tag.findall(ARTICLE))
    for part in (
        'let sea = "The sea & the <b>storm</b>";',
        "p { color: red }",
        "boat.find()",
        "<!-- The weather was bad. -->",
    ):
        assert part in data
    assert '<p translate="no">Flarelay</p>' in data
    assert f"<li>{said('One', 'en', 'de')}</li>" in data
    assert f"<td>{said('Morning', 'en', 'de')}</td>" in data
    assert data.count("\n") == ARTICLE.count("\n")


def test_a_book_comes_back_whole(upstream: Cloudflare, tmp_path: Path) -> None:
    """100,000 characters, and more sentences than are sent at a time."""
    line = "The harbour of the old town was full of boats which nobody had seen before, and so was the sea behind it."
    lines = [f"{line} {number}" for number in range(100)] * 10
    text = "\n".join(lines)
    assert len(text) > 100_000
    with flarelay(upstream, data_dir=str(tmp_path)) as server, connected(server) as client:
        upstream.emulator.requests.clear()
        data = translated(client, text)
    assert data.split("\n") == [said(each, "en", "de") for each in lines]
    assert len(calls(upstream)) == len(set(lines))

"""DeepL's own client for Python against a running server. Tests with a number have that of the checklist of clients."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import deepl
import httpx2
import orjson
import pytest

from tests.interpreting import calls, prompts, said
from tests.sentences import SENTENCES
from tests.serving import ACCOUNT, KEY, TOKEN, Cloudflare, Server, cloudflare, flarelay

HELLO = "The weather is nice today."
TEXTS = ["It is late.", "", "The sea was calm.", "It is late."]


@contextmanager
def deepl_client(server: Server, key: str = KEY) -> Iterator[deepl.DeepLClient]:
    """As its users set it up, but for the tries."""
    deepl.http_client.max_network_retries = 0
    with closing(deepl.DeepLClient(key, server_url=server.url)) as client:
        yield client


@pytest.fixture
def translator(server: Server) -> Iterator[deepl.DeepLClient]:
    with deepl_client(server) as client:
        yield client


@pytest.fixture(scope="module")
def llm(upstream: Cloudflare) -> Iterator[deepl.DeepLClient]:
    """Of a server whose own choice is a chat model."""
    with flarelay(upstream, translate_model="gpt-4o-mini") as server, deepl_client(server) as client:
        yield client


def one(result: deepl.TextResult | list[deepl.TextResult]) -> deepl.TextResult:
    assert not isinstance(result, list)
    return result


def several(result: deepl.TextResult | list[deepl.TextResult]) -> list[deepl.TextResult]:
    assert isinstance(result, list)
    return result


def test_a_single_text_comes_with_its_language_and_length(translator: deepl.DeepLClient) -> None:
    result = one(translator.translate_text(HELLO, target_lang="DE"))
    assert result.text == said(HELLO, "en", "de")
    assert (result.detected_source_lang, result.billed_characters) == ("EN", len(HELLO))


def test_row_23_lists_come_back_in_their_order(translator: deepl.DeepLClient) -> None:
    results = several(translator.translate_text(TEXTS, target_lang="DE"))
    assert [result.text for result in results] == [said(text, "en", "de") for text in TEXTS]
    assert [result.detected_source_lang for result in results] == ["EN"] * len(TEXTS)
    assert [result.billed_characters for result in results] == list(map(len, TEXTS))


def test_row_23_the_client_for_node_sends_a_form(http: httpx2.Client) -> None:
    form = {"text": ["a boat", "the sea"], "target_lang": "de", "show_billed_characters": "1"}
    response = http.post("/v2/translate", data=form, headers={"authorization": f"DeepL-Auth-Key {KEY}"})
    rows = response.json()["translations"]
    assert [row["text"] for row in rows] == [said("a boat", "en", "de"), said("the sea", "en", "de")]
    assert [row["detected_source_language"] for row in rows] == ["EN", "EN"]
    assert [row["billed_characters"] for row in rows] == [6, 7]


TARGETS = {
    "EN-US": "en",
    "EN-GB": "en",
    "PT-BR": "pt",
    "PT-PT": "pt",
    "ZH": "zh-Hans",
    "ZH-HANS": "zh-Hans",
    "ZH-HANT": "zh-Hant",
    "ES-419": "es",
    "NB": "no",
}


@pytest.mark.parametrize(("target", "code"), TARGETS.items())
def test_variants_of_languages_are_targets(translator: deepl.DeepLClient, target: str, code: str) -> None:
    text = "Der Zug kam heute Morgen zu spät."
    result = one(translator.translate_text(text, target_lang=target, source_lang="DE"))
    assert result.text == said(text, "de", code)
    assert result.detected_source_lang == "DE"


@pytest.mark.parametrize("markup", ["html", "xml"])
def test_tags_stay_and_stay_balanced(translator: deepl.DeepLClient, markup: str) -> None:
    text = '<p>The <b>weather</b> is <x id="1"/> nice &amp; warm.</p><p>It is late.</p>'
    result = one(translator.translate_text(text, target_lang="DE", tag_handling=markup)).text
    for part in ("<b>", "</b>", '<x id="1"/>', "&amp;"):
        assert result.count(part) == 1
    assert result.startswith("<p>")
    assert result.endswith(f"</p><p>{said('It is late.', 'en', 'de')}</p>")
    assert result.index("<b>") < result.index("</b>")


def test_ignored_tags_hold_what_is_not_translated(translator: deepl.DeepLClient) -> None:
    text = "The key is <keep>Open Sesame</keep> today."
    options: dict[str, Any] = {"tag_handling": "xml", "ignore_tags": ["keep", "other"]}
    assert "<keep>Open Sesame</keep>" in one(translator.translate_text(text, target_lang="DE", **options)).text


SPLITS = [deepl.SplitSentences.OFF, deepl.SplitSentences.ALL, deepl.SplitSentences.NO_NEWLINES]


@pytest.mark.parametrize("split", SPLITS)
def test_sentences_are_split_as_wanted(upstream: Cloudflare, tmp_path: Path, split: deepl.SplitSentences) -> None:
    text = "The train was late this morning.\nThe sea was calm in the evening."
    with flarelay(upstream, data_dir=str(tmp_path)) as server, deepl_client(server) as client:
        upstream.emulator.requests.clear()
        result = one(client.translate_text(text, target_lang="DE", split_sentences=split)).text
    assert result == "\n".join(said(line, "en", "de") for line in text.splitlines())
    assert len(calls(upstream)) == (1 if split is deepl.SplitSentences.OFF else 2)


@pytest.mark.parametrize("value", [True, False])
def test_formatting_is_always_preserved(translator: deepl.DeepLClient, value: bool) -> None:
    text = "  the sea was calm \r\n\r\n\tit is late  "
    result = one(translator.translate_text(text, target_lang="DE", preserve_formatting=value)).text
    assert result == f"  {said('the sea was calm', 'en', 'de')} \r\n\r\n\t{said('it is late', 'en', 'de')}  "


FORMALITIES = [
    (deepl.Formality.MORE, "Use a formal tone"),
    (deepl.Formality.PREFER_MORE, "Use a formal tone"),
    (deepl.Formality.LESS, "Use an informal tone"),
    (deepl.Formality.DEFAULT, "translation engine"),
]


@pytest.mark.parametrize(("formality", "rule"), FORMALITIES)
def test_formality_reaches_a_chat_model(
    upstream: Cloudflare, llm: deepl.DeepLClient, formality: deepl.Formality, rule: str
) -> None:
    upstream.emulator.requests.clear()
    text = f"The tone is {formality.value}."
    assert one(llm.translate_text(text, target_lang="DE", formality=formality)).text == said(text, "en", "de")
    assert [rule in system for system, _ in prompts(upstream)] == [True]


def test_context_and_instructions_reach_a_chat_model(upstream: Cloudflare, llm: deepl.DeepLClient) -> None:
    upstream.emulator.requests.clear()
    context, instruction = "A letter to the harbour master.", "Keep it short"
    options: dict[str, Any] = {"context": context, "custom_instructions": [instruction]}
    result = one(llm.translate_text("The boat is old.", target_lang="DE", **options))
    assert result.text == said("The boat is old.", "en", "de")
    ((system, user),) = prompts(upstream)
    assert context in system
    assert instruction in system
    assert user == "<t1>The boat is old.</t1>"


def test_formality_and_context_are_no_fault_for_a_model_without_them(translator: deepl.DeepLClient) -> None:
    result = translator.translate_text(HELLO, target_lang="DE", formality="prefer_less", context="The sea.")
    assert one(result).text == said(HELLO, "en", "de")


def test_a_glossary_is_refused(translator: deepl.DeepLClient) -> None:
    with pytest.raises(deepl.DeepLException, match="no such glossary"):
        translator.translate_text(HELLO, target_lang="DE", source_lang="EN", glossary="0123-4567")
    assert translator.list_glossaries() == []


def test_row_24_usage_and_languages_are_those_of_deepl(translator: deepl.DeepLClient) -> None:
    sources, targets = translator.get_source_languages(), translator.get_target_languages()
    assert {language.code for language in sources} >= SENTENCES.keys()
    assert {"EN-GB", "PT-BR", "ZH-HANT"} <= {language.code for language in targets}
    assert all(language.name for language in [*sources, *targets])
    assert {language.supports_formality for language in targets} == {False}


def test_row_24_the_kind_of_languages_is_in_the_query_or_the_body(server: Server, http: httpx2.Client) -> None:
    in_query = http.get("/v2/languages?type=target").json()
    headers = {"authorization": f"DeepL-Auth-Key {KEY}", "content-type": "application/x-www-form-urlencoded"}
    with closing(HTTPConnection(server.url.removeprefix("http://"), timeout=20)) as connection:
        connection.request("GET", "/v2/languages", b"type=target", headers)
        in_body = orjson.loads(connection.getresponse().read())
    assert in_query == in_body
    assert {"language": "DE", "name": "German", "supports_formality": False} in in_query


def test_chat_models_can_be_formal(llm: deepl.DeepLClient) -> None:
    assert all(language.supports_formality for language in llm.get_target_languages())


def test_row_25_usage_counts_what_was_asked_for(upstream: Cloudflare, tmp_path: Path) -> None:
    with flarelay(upstream, data_dir=str(tmp_path)) as own, deepl_client(own) as translator:  # nobody else counts there
        counts = []
        for _ in range(2):
            translator.translate_text(HELLO, target_lang="DE")
            usage = translator.get_usage()
            assert usage.character.valid
            assert not usage.any_limit_reached
            counts.append(usage.character.count)
    assert counts == [len(HELLO), 2 * len(HELLO)]


def test_row_25_a_wrong_key_is_told_as_such(server: Server) -> None:
    with deepl_client(server, "wrong") as client:
        for ask in (
            client.get_usage,
            client.get_target_languages,
            lambda: client.translate_text("a", target_lang="DE"),
        ):
            with pytest.raises(deepl.AuthorizationException):
                ask()


def test_row_25_a_spent_allowance_is_a_quota(tmp_path: Path) -> None:
    with (
        cloudflare(daily_neurons=0.001) as spent,
        flarelay(spent, data_dir=str(tmp_path), max_tries=1) as server,
        deepl_client(server) as client,
    ):
        client.translate_text(HELLO, target_lang="DE")
        with pytest.raises(deepl.QuotaExceededException):
            client.translate_text("It is late.", target_lang="DE")


def test_row_25_too_many_requests_are_told_as_such(tmp_path: Path) -> None:
    with (
        cloudflare(requests_per_minute=1) as slow,
        flarelay(slow, data_dir=str(tmp_path), max_tries=1) as server,
        deepl_client(server) as client,
    ):
        client.translate_text(HELLO, target_lang="DE")
        with pytest.raises(deepl.TooManyRequestsException):
            client.translate_text("It is late.", target_lang="DE")


def test_a_body_that_is_too_large_is_told_as_such(upstream: Cloudflare) -> None:
    with flarelay(upstream, max_body_bytes=1000) as server, deepl_client(server) as client:
        with pytest.raises(deepl.DeepLException, match="413") as failure:
            client.translate_text("word " * 1000, target_lang="DE")
        assert failure.value.http_status_code == 413


def test_an_upstream_that_refuses_us_is_no_fault_of_the_key() -> None:
    with (
        cloudflare(tokens={ACCOUNT: f"not-{TOKEN}"}) as closed,
        flarelay(closed, max_tries=1) as server,
        deepl_client(server) as client,
    ):
        with pytest.raises(deepl.DeepLException, match="Service unavailable") as failure:
            client.translate_text("Nobody has translated this.", target_lang="DE")
        assert failure.value.http_status_code == 503


def test_many_clients_translate_at_once(translator: deepl.DeepLClient) -> None:
    texts = [f"There are {number} boats." for number in range(30)]

    def ask(text: str) -> str:
        return one(translator.translate_text(text, target_lang="FR")).text

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(ask, texts)) == [said(text, "en", "fr") for text in texts]

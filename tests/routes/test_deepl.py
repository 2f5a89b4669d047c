"""DeepL's API as its own Python client uses it, and as forms, curl and extensions do."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import deepl
import httpx2
import pytest

from app.errors import APIStatusError, AuthenticationError, BadRequestError, InternalServerError, RateLimitError
from app.translation.wishes import Manner, Wish
from tests.routes.translating import API_KEY, MAX_BYTES, MODEL, TOKEN, FakeDesk, auth, translating, visiting
from tests.serving import Server

HELLO = {"text": ["Hello"], "target_lang": "DE"}


@pytest.fixture
def http(running: tuple[FakeDesk, Server]) -> Iterator[httpx2.Client]:
    with visiting(running[1]) as client:
        client.headers["authorization"] = f"DeepL-Auth-Key {TOKEN}"
        yield client


@pytest.fixture
def client(running: tuple[FakeDesk, Server]) -> Iterator[deepl.DeepLClient]:
    """DeepL's own client, as its users set it up."""
    with closing(deepl.DeepLClient(TOKEN, server_url=running[1].url)) as client:
        yield client


def form(text: str) -> dict[str, Any]:
    return {"content": text.encode(), "headers": {"content-type": "application/x-www-form-urlencoded"}}


def test_the_python_client_translates(client: deepl.DeepLClient, desk: FakeDesk) -> None:
    results = client.translate_text(["a", "", "b"], target_lang="DE")
    assert isinstance(results, list)
    assert [(each.text, each.detected_source_lang, each.billed_characters) for each in results] == [
        ("[de] a", "EN", 1),
        ("", "EN", 0),
        ("[de] b", "EN", 1),
    ]
    assert desk.wish == Wish(("a", "b"), "de", split="sentences")
    assert len(desk.callers) == 1


def test_the_python_client_has_its_options_heeded(client: deepl.DeepLClient, desk: FakeDesk) -> None:
    result = client.translate_text(
        "<p>a</p>",
        source_lang="ZH",
        target_lang="PT-BR",
        context="A menu",
        split_sentences=deepl.SplitSentences.OFF,
        preserve_formatting=True,
        formality=deepl.Formality.PREFER_LESS,
        tag_handling="xml",
        tag_handling_version="v2",
        outline_detection=False,
        non_splitting_tags=["b,i", "u"],
        splitting_tags="p",
        ignore_tags=["x", "keep"],
        model_type="prefer_quality_optimized",
        custom_instructions=["Be brief, please", "No slang"],
        extra_body_parameters={"model": "some-model", "glossary": {"fork": "garfo"}},
    )
    assert isinstance(result, deepl.TextResult)
    assert (result.detected_source_lang, result.model_type_used) == ("ZH", "quality_optimized")
    assert desk.wish == Wish(
        ("<p>a</p>",),
        "pt-BR",
        "zh",
        "some-model",
        markup="xml",
        split="none",
        preserve_formatting=True,
        manner=Manner("less", "A menu", ("Be brief, please", "No slang"), {"fork": "garfo"}),
        ignore_tags=frozenset({"x", "keep"}),
        splitting_tags=frozenset({"p"}),
        non_splitting_tags=frozenset({"b", "i", "u"}),
    )


def test_the_node_client_sends_a_form(http: httpx2.Client, desk: FakeDesk) -> None:
    response = http.post(
        "/v2/translate",
        **form(
            "text=a&text=b%0Ac&target_lang=de&source_lang=en&show_billed_characters=1&preserve_formatting=1"
            "&non_splitting_tags=b,i&ignore_tags=x&tag_handling=html&split_sentences=nonewlines&formality=default"
        ),
    )
    assert response.json() == {
        "translations": [
            {"detected_source_language": "EN", "text": "[de] a", "billed_characters": 1},
            {"detected_source_language": "EN", "text": "[de] b\nc", "billed_characters": 3},
        ]
    }
    assert desk.wish == Wish(
        ("a", "b\nc"),
        "de",
        "en",
        markup="html",
        split="sentences",
        preserve_formatting=True,
        ignore_tags=frozenset({"x"}),
        non_splitting_tags=frozenset({"b", "i"}),
    )


def test_immersive_translate_leaves_the_source_empty(http: httpx2.Client, desk: FakeDesk) -> None:
    response = http.post(
        "/v2/translate",
        **form("text=a&text=b&target_lang=ZH&source_lang=&tag_handling=html&model_type=quality_optimized"),
    )
    assert [row["text"] for row in response.json()["translations"]] == ["[zh-Hans] a", "[zh-Hans] b"]
    assert {row["model_type_used"] for row in response.json()["translations"]} == {"quality_optimized"}
    assert desk.wish.source is None


@pytest.mark.parametrize("target", ["EN", "PT", "ZH-HANS", "nb", "EN-US"])
def test_targets_that_the_python_client_refuses_are_taken(http: httpx2.Client, desk: FakeDesk, target: str) -> None:
    assert http.post("/v2/translate", json=HELLO | {"target_lang": target}).status_code == 200
    assert len(desk.wishes) == 1


@pytest.mark.parametrize("url", [f"/v2/translate?auth_key={API_KEY}", f"/v2/translate?token={API_KEY}"])
def test_a_key_may_stand_in_the_url(http: httpx2.Client, desk: FakeDesk, url: str) -> None:
    del http.headers["authorization"]
    assert http.post(url, json=HELLO).status_code == 200
    assert len(desk.wishes) == 1


@pytest.mark.parametrize(("value", "shown"), [(True, True), ("1", True), (False, False), ("false", False), (0, False)])
@pytest.mark.usefixtures("desk")
def test_billed_characters_are_left_out_if_told_so(http: httpx2.Client, value: Any, shown: bool) -> None:
    (row,) = http.post("/v2/translate", json=HELLO | {"show_billed_characters": value}).json()["translations"]
    assert ("billed_characters" in row) is shown


@pytest.mark.parametrize(
    ("value", "split"),
    [(0, "none"), ("0", "none"), (False, "none"), (1, "sentences"), (True, "sentences"), ("noNewLines", "sentences")],
)
def test_where_a_text_may_be_cut(http: httpx2.Client, desk: FakeDesk, value: Any, split: str) -> None:
    http.post("/v2/translate", json=HELLO | {"split_sentences": value})
    assert desk.wish.split == split


@pytest.mark.parametrize("text", ["", [""], ["", ""], [" "]])
def test_nothing_is_translated_without_asking_anybody(http: httpx2.Client, desk: FakeDesk, text: Any) -> None:
    texts = [text] if isinstance(text, str) else text
    response = http.post("/v2/translate", json=HELLO | {"text": text, "source_lang": "JA"})
    assert [row["text"] for row in response.json()["translations"]] == texts
    assert {row["detected_source_language"] for row in response.json()["translations"]} == {"JA"}
    assert desk.wishes == []


@pytest.mark.usefixtures("desk")
def test_headers_tell_how_it_was_done(http: httpx2.Client) -> None:
    response = http.post("/v2/translate", json=HELLO | {"style_id": "x", "tag_handling_version": "v2"})
    found = {name: value for name, value in response.headers.items() if name.startswith("x-flarelay-")}
    assert found == {
        "x-flarelay-model": MODEL,
        "x-flarelay-neurons": "1.25",
        "x-flarelay-cache": "miss",
        "x-flarelay-ignored": "style_id, tag_handling_version",
    }


@pytest.mark.parametrize(
    ("changed", "message", "detail"),
    [
        ({"text": None}, "'text' is missing.", "missing_required_parameter: text"),
        ({"text": []}, "Invalid value for 'text'", "invalid_value: text"),
        ({"text": ["a"] * 1001}, "1000", "invalid_value: text"),
        ({"text": [1]}, "'text[0]'", "invalid_value: text[0]"),
        ({"target_lang": ""}, "'target_lang' is missing", "missing_required_parameter: target_lang"),
        ({"target_lang": "xx-yy"}, "not supported", "unsupported_language: target_lang"),
        ({"source_lang": "klingonese"}, "not supported", "unsupported_language: source_lang"),
        ({"tag_handling": "markdown"}, "'html' or 'xml'", "invalid_value: tag_handling"),
        ({"split_sentences": "2"}, "'split_sentences'", "invalid_value: split_sentences"),
        ({"formality": "rude"}, "'formality'", "invalid_value: formality"),
        ({"preserve_formatting": "perhaps"}, "'preserve_formatting'", "invalid_value: preserve_formatting"),
        ({"ignore_tags": [1]}, "'ignore_tags", "invalid_value: ignore_tags[0]"),
        ({"ignore_tags": 1}, "'ignore_tags", "invalid_value: ignore_tags"),
        ({"glossary_id": "g"}, "no such glossary", "glossary_not_found: glossary_id"),
        ({"glossary_ids": ["g"]}, "no such glossary", "glossary_not_found: glossary_id"),
    ],
)
def test_what_can_not_be_done_is_400(
    http: httpx2.Client, desk: FakeDesk, changed: dict[str, Any], message: str, detail: str
) -> None:
    response = http.post("/v2/translate", json=HELLO | changed)
    assert response.status_code == 400
    assert message in response.json()["message"]
    assert response.json()["detail"] == detail
    assert desk.wishes == []


@pytest.mark.parametrize("glossary", [{"glossary_id": ""}, {"glossary_ids": []}, {"glossary_id": None}])
@pytest.mark.usefixtures("desk")
def test_an_empty_glossary_is_none(http: httpx2.Client, glossary: dict[str, Any]) -> None:
    assert http.post("/v2/translate", json=HELLO | glossary).status_code == 200


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (AuthenticationError("No."), 403),
        (RateLimitError("Slower."), 429),
        (RateLimitError("Spent.", code="daily_limit_reached"), 456),
        (InternalServerError("Broken."), 500),
        (InternalServerError("Broken.", status=502), 503),
        (InternalServerError("Busy.", status=503), 503),
        (InternalServerError("Late.", status=504), 503),
    ],
)
def test_a_failure_has_the_status_that_clients_know(
    http: httpx2.Client, desk: FakeDesk, failure: APIStatusError, status: int
) -> None:
    desk.failure = failure
    response = http.post("/v2/translate", json=HELLO)
    assert response.status_code == status
    assert response.json() == {"message": failure.message, "detail": failure.code}


def test_a_failure_without_a_code_has_no_detail(http: httpx2.Client, desk: FakeDesk) -> None:
    desk.failure = BadRequestError("No.")
    assert http.post("/v2/translate", json=HELLO).json() == {"message": "No."}


def test_a_body_may_be_so_large_and_no_larger(http: httpx2.Client, desk: FakeDesk) -> None:
    response = http.post("/v2/translate", json=HELLO | {"text": "a" * MAX_BYTES})
    assert (response.status_code, response.json()["detail"]) == (413, "request_too_large")
    assert desk.wishes == []


def test_the_python_client_understands_the_failures(
    client: deepl.DeepLClient, desk: FakeDesk, running: tuple[FakeDesk, Server]
) -> None:
    with (
        closing(deepl.DeepLClient("wrong", server_url=running[1].url)) as stranger,
        pytest.raises(deepl.AuthorizationException, match="TRANSLATE_TOKENS"),
    ):
        stranger.translate_text("a", target_lang="DE")
    with pytest.raises(deepl.DeepLException, match="Bad request, message: The language 'XX' in 'target_lang'"):
        client.translate_text("a", target_lang="XX")
    desk.failure = RateLimitError("The day is spent.", code="daily_limit_reached")
    with pytest.raises(deepl.QuotaExceededException, match="The day is spent"):
        client.translate_text("a", target_lang="DE")


@pytest.mark.usefixtures("desk")
def test_the_python_client_lists_languages(client: deepl.DeepLClient) -> None:
    sources = {language.code: language for language in client.get_source_languages()}
    targets = {language.code: language for language in client.get_target_languages()}
    assert sources["DE"].name == "German"
    assert sources["DE"].supports_formality is None
    assert "EN-GB" not in sources
    assert (targets["EN-GB"].name, targets["EN-GB"].supports_formality) == ("English (British)", True)


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize(
    ("method", "url", "body", "is_target"),
    [
        ("GET", "/v2/languages", {}, False),
        ("GET", "/v2/languages?type=source", {}, False),
        ("GET", "/v2/languages?type=target", {}, True),
        ("POST", "/v2/languages", form("type=target"), True),
        ("POST", "/v2/languages", {"json": {"type": "target"}}, True),
    ],
)
def test_the_kind_of_languages_may_stand_anywhere(
    http: httpx2.Client, method: str, url: str, body: dict[str, Any], is_target: bool
) -> None:
    rows = http.request(method, url, **body).json()
    assert all(("supports_formality" in row) is is_target for row in rows)
    assert rows


def test_formality_is_not_promised_where_the_model_has_none() -> None:
    with translating(FakeDesk(), auth(keys=(), tokens=()), has_formality=False) as server, visiting(server) as client:
        assert {row["supports_formality"] for row in client.get("/v2/languages?type=target").json()} == {False}


@pytest.mark.parametrize("body", [form("type=both"), {"json": {"type": 1}}, {"json": {"type": ["target"]}}])
@pytest.mark.usefixtures("desk")
def test_there_are_two_kinds_of_languages(http: httpx2.Client, body: dict[str, Any]) -> None:
    response = http.post("/v2/languages", **body)
    assert (response.status_code, response.json()["detail"]) == (400, "invalid_value: type")


@pytest.mark.parametrize(("count", "shown"), [(0, 0), (1234, 1234), (10**12, 10**12 - 1), (10**13, 10**12 - 1)])
def test_usage_never_reaches_its_limit(client: deepl.DeepLClient, desk: FakeDesk, count: int, shown: int) -> None:
    desk.characters_so_far = count
    usage = client.get_usage()
    assert (usage.character.count, usage.character.limit) == (shown, 10**12)
    assert not usage.any_limit_reached
    assert len(desk.callers) == 1


@pytest.mark.usefixtures("desk")
def test_usage_answers_a_post_too(http: httpx2.Client) -> None:
    assert http.post("/v2/usage").json() == {"character_count": 0, "character_limit": 10**12}


@pytest.mark.usefixtures("desk")
def test_the_lists_of_what_there_is_not_are_empty(client: deepl.DeepLClient) -> None:
    assert client.list_glossaries() == []
    assert client.get_glossary_languages() == []
    assert client.list_multilingual_glossaries() == []
    assert client.get_all_style_rules() == []


@pytest.mark.usefixtures("desk")
def test_what_there_is_not_can_not_be_found(client: deepl.DeepLClient) -> None:
    with pytest.raises(deepl.GlossaryNotFoundException):
        client.get_glossary("some-id")
    with pytest.raises(deepl.DeepLException, match="Not found, message: There is no POST /v2/write/rephrase here"):
        client.rephrase_text("a")
    with pytest.raises(deepl.DeepLException, match="Not found, message: There is no POST /v2/document here"):
        client.translate_document_upload(b"a", target_lang="DE", filename="a.txt")


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_method_that_is_not_meant_is_405_in_deepls_shape(http: httpx2.Client, method: str) -> None:
    response = http.request(method, "/v2/translate")
    assert (response.status_code, response.json()["detail"]) == (405, "method_not_allowed")


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("path", ["/v2/usage", "/v2/languages", "/v2/glossaries", "/v2/document/x"])
def test_every_path_needs_a_key(http: httpx2.Client, path: str) -> None:
    response = http.get(path, headers={"authorization": "DeepL-Auth-Key wrong"})
    assert response.status_code == 403
    assert response.json()["detail"] == "invalid_api_key"

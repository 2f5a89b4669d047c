"""Documents, as Anthropic's and OpenAI's own clients send them: what they say reaches the model."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.emulator.requests import ReceivedRequest
from app.planning import MOST_DOCUMENTS
from tests.documents import DOCX, PDF, data_uri, docx, encoded, pdf
from tests.serving import (
    CHAT,
    DEADLINE_SECONDS,
    KEY,
    NATIVE,
    TOKEN,
    VISION,
    Cloudflare,
    Server,
    asked,
    cloudflare,
    connected,
    flarelay,
    serving,
)

OTHER_KEY = "key-of-another-caller"


async def library(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(pdf("From afar"), media_type=PDF)(scope, receive, send)


@pytest.fixture(scope="module")
def web() -> Iterator[Server]:
    """A server of documents on this machine."""
    with serving(library, lifespan="off") as running:
        yield running


@pytest.fixture(scope="module")
def reader(upstream: Cloudflare) -> Iterator[Server]:
    """A server that may fetch from this machine, with two keys."""
    with flarelay(upstream, remote_fetch_allow="127.0.0.1", api_keys=f"{KEY},{OTHER_KEY}") as server:
        yield server


@pytest.fixture(scope="module")
def claude(reader: Server) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=reader.url, api_key=KEY, max_retries=0, timeout=DEADLINE_SECONDS) as client:
        yield client


@pytest.fixture(scope="module")
def gpt(reader: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{reader.url}/v1", api_key=KEY, max_retries=0, timeout=DEADLINE_SECONDS) as client:
        yield client


@pytest.fixture
def http(reader: Server) -> Iterator[httpx2.Client]:
    with connected(reader) as client:
        yield client


def conversions(upstream: Cloudflare) -> list[ReceivedRequest]:
    return [request for request in upstream.emulator.requests if request.path.endswith("/ai/tomarkdown")]


def block(data: bytes, media_type: str = PDF, **fields: Any) -> Any:
    source = {"type": "base64", "media_type": media_type, "data": encoded(data)}
    return {"type": "document", "source": source} | fields


def said(upstream: Cloudflare) -> str:
    """By the user, last."""
    return str(upstream.sent["messages"][-1]["content"])


@pytest.mark.parametrize("model", [CHAT, NATIVE, "claude-sonnet-5"])
@pytest.mark.parametrize("stream", [False, True])
def test_anthropics_client_sends_a_pdf(
    claude: anthropic.Anthropic, upstream: Cloudflare, model: str, stream: bool
) -> None:
    text = f"The code is {model} {stream}"
    content: Any = [
        block(
            pdf(text), title="Secrets", context="Ours", citations={"enabled": True}, cache_control={"type": "ephemeral"}
        ),
        {"type": "text", "text": "What is the code?"},
    ]
    fields: Any = {"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": content}]}
    if stream:
        with claude.messages.stream(**fields) as events:
            answer = events.get_final_message()
    else:
        answer = claude.messages.create(**fields)
    assert answer.stop_reason in ("end_turn", "max_tokens")
    assert answer.usage.input_tokens > 20
    assert said(upstream) == (
        "<document>\ntitle: Secrets\ncontext: Ours\n# document.pdf\n## Contents\n### Page 1\n\n"
        f"{text}\n\n</document>\nWhat is the code?"
    )


def test_documents_of_every_source(claude: anthropic.Anthropic, upstream: Cloudflare, web: Server) -> None:
    content: Any = [
        block(docx("In Word"), DOCX),
        block(b"a,b", "text/csv"),
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Plain"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "In blocks"}]}},
        {"type": "document", "source": {"type": "url", "url": f"{web.url}/afar.pdf"}},
    ]
    claude.messages.create(model=CHAT, max_tokens=50, messages=[{"role": "user", "content": content}])
    places = [said(upstream).index(text) for text in ("In Word", "\na,b\n", "Plain", "In blocks", "From afar")]
    assert places == sorted(places)


def test_the_result_of_a_tool_holds_a_pdf(claude: anthropic.Anthropic, upstream: Cloudflare) -> None:
    tool: Any = {"name": "read", "input_schema": {"type": "object", "properties": {}}}
    turns: Any = [
        {"role": "user", "content": "Read it."},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "read", "input": {}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [block(pdf("In a result"))]}],
        },
    ]
    claude.messages.create(model=CHAT, max_tokens=50, messages=turns, tools=[tool])
    last = upstream.sent["messages"][-1]
    assert last["role"] == "tool"
    assert "In a result" in last["content"]


def test_a_conversation_that_goes_on_is_converted_once(
    http: httpx2.Client, reader: Server, upstream: Cloudflare
) -> None:
    document, before = block(pdf("Once only")), len(conversions(upstream))
    turns: list[Any] = [{"role": "user", "content": [document, {"type": "text", "text": "Hi"}]}]
    for _ in range(3):
        response = http.post("/v1/messages", json={"model": CHAT, "max_tokens": 50, "messages": turns})
        assert response.status_code == 200
        turns += [{"role": "assistant", "content": "Yes?"}, {"role": "user", "content": [document]}]
    assert len(conversions(upstream)) == before + 1
    with connected(reader, authorization=f"Bearer {OTHER_KEY}") as other:
        assert other.post("/v1/messages", json={"model": CHAT, "max_tokens": 50, "messages": turns}).status_code == 200
    assert len(conversions(upstream)) == before + 2


def test_tokens_are_counted_without_asking(claude: anthropic.Anthropic, upstream: Cloudflare) -> None:
    before = len(upstream.emulator.requests)
    turn: Any = {"role": "user", "content": [block(pdf("Counted" * 1000, is_compressed=False))]}
    assert 150 < claude.messages.count_tokens(model=CHAT, messages=[turn]).input_tokens < 300
    assert len(upstream.emulator.requests) == before


@pytest.mark.parametrize("model", [NATIVE, CHAT, VISION])
@pytest.mark.parametrize("stream", [False, True])
def test_openais_client_sends_a_pdf_in_a_chat(
    gpt: openai.OpenAI, upstream: Cloudflare, model: str, stream: bool
) -> None:
    text = f"In a chat {model} {stream}"
    part = {"type": "file", "file": {"filename": "a.pdf", "file_data": data_uri(pdf(text))}}
    turns: Any = [{"role": "user", "content": [part, {"type": "text", "text": "What?"}]}]
    answer: Any = gpt.chat.completions.create(model=model, messages=turns, stream=stream)
    if stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)
    else:
        assert answer.choices[0].message.content
    assert said(upstream).startswith("<document>\nfilename: a.pdf\n# document.pdf")
    assert said(upstream).endswith("\n</document>\nWhat?")
    assert text in said(upstream)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("is_remote", [False, True])
def test_openais_client_sends_a_pdf_in_a_response(
    gpt: openai.OpenAI, upstream: Cloudflare, web: Server, stream: bool, is_remote: bool
) -> None:
    sent = {"file_data": data_uri(pdf(f"In a response {stream}")), "filename": "a.pdf"}
    part = {"type": "input_file"} | ({"file_url": f"{web.url}/afar.pdf"} if is_remote else sent)
    given: Any = [{"role": "user", "content": [part, {"type": "input_text", "text": "What?"}]}]
    answer: Any = gpt.responses.create(model=CHAT, input=given, stream=stream)
    kept = list(answer)[-1].response if stream else answer
    assert kept.status == "completed"
    assert ("From afar" if is_remote else f"In a response {stream}") in said(upstream)
    gpt.responses.create(model=CHAT, input="And?", previous_response_id=kept.id)
    assert "<document>" in upstream.sent["messages"][0]["content"]
    assert gpt.responses.input_tokens.count(model=CHAT, input=given).input_tokens > 15


@pytest.mark.parametrize(
    ("file", "field", "message"),
    [
        ({"file_data": data_uri(b"no pdf")}, ".file_data", "The document could not be read: Invalid PDF structure."),
        ({"file_data": data_uri(b"\0", "video/mp4")}, ".file_data", "A document of the type 'video/mp4' can't be read"),
        ({"file_data": "http://10.0.0.1/a.pdf"}, ".file_data", "The document could not be fetched: its host is"),
        ({"file_id": "file-1"}, "", "Files are not stored here"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_document_that_can_not_be_read_is_named(
    gpt: openai.OpenAI, file: dict[str, str], field: str, message: str, stream: bool
) -> None:
    parts: Any = [{"type": "text", "text": "What?"}, {"type": "file", "file": file}]
    with pytest.raises(openai.BadRequestError, match=message) as chat:
        gpt.chat.completions.create(model=CHAT, messages=[{"role": "user", "content": parts}], stream=stream)
    assert chat.value.param == f"messages[0].content[1].file{field}"
    given: Any = [{"role": "user", "content": [{"type": "input_file"} | file]}]
    with pytest.raises(openai.BadRequestError, match=message) as response:
        gpt.responses.create(model=CHAT, input=given, stream=stream)
    assert response.value.param == f"input[0].content[0]{field}"


def test_too_many_documents_are_refused(gpt: openai.OpenAI, upstream: Cloudflare) -> None:
    before = len(upstream.emulator.requests)
    parts: Any = [
        {"type": "file", "file": {"file_data": data_uri(pdf(str(i)))}} for i in [*range(MOST_DOCUMENTS + 1), 0, 1]
    ]
    with pytest.raises(openai.BadRequestError, match="64 different documents") as raised:
        gpt.chat.completions.create(model=CHAT, messages=[{"role": "user", "content": parts}])
    assert raised.value.param == f"messages[0].content[{MOST_DOCUMENTS}].file.file_data"
    assert len(upstream.emulator.requests) == before


def test_one_of_two_accounts_that_fails_does_no_harm() -> None:
    with ExitStack() as stack:
        upstream = stack.enter_context(cloudflare(tokens={"good": TOKEN, "bad": "another-token"}))
        accounts = {"cloudflare_account_id": None, "cloudflare_api_token": None}
        server = stack.enter_context(flarelay(upstream, **accounts, cloudflare_accounts=f"bad:{TOKEN},good:{TOKEN}"))
        client = stack.enter_context(connected(server))
        for i in range(4):
            turn = {"role": "user", "content": [block(pdf(f"Document {i}"))]}
            response = client.post("/v1/messages", json={"model": CHAT, "max_tokens": 50, "messages": [turn]})
            assert response.status_code == 200
        tried = [request.path.split("/")[4] for request in conversions(upstream)]
    assert tried.count("good") == 4
    assert "bad" in [request.path.split("/")[4] for request in upstream.emulator.requests]


@pytest.mark.parametrize("route", ["rest", "host"])
def test_conversions_go_past_a_gateway(route: str) -> None:
    with ExitStack() as stack:
        upstream = stack.enter_context(cloudflare())
        base_url = upstream.url.replace("/client/v4", "/v1")
        options = {"ai_gateway_id": "gate", "ai_gateway_route": route, "ai_gateway_base_url": base_url}
        client = stack.enter_context(connected(stack.enter_context(flarelay(upstream, **options))))
        part = {"type": "file", "file": {"file_data": data_uri(pdf("Past"))}}
        response = client.post(
            "/v1/chat/completions", json=asked("", CHAT) | {"messages": [{"role": "user", "content": [part]}]}
        )
        assert response.status_code == 200
        assert "Past" in said(upstream)
        assert [request.path for request in conversions(upstream)] == ["/client/v4/accounts/account1/ai/tomarkdown"]

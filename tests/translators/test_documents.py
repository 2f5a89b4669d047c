"""Files in conversations: asked for before there is a plan, and texts in their places once they are read."""

from typing import Any

import pytest

from app.calls import Document
from app.errors import BadRequestError
from app.schemas.messages import MessagesRequest
from app.schemas.responses import ResponsesRequest
from app.translators.base import DocumentsWanted
from app.translators.chat import chat
from app.translators.documents import estimates
from app.translators.messages import count_tokens, messages
from app.translators.responses import responses, to_exchange
from tests.translators.chats import CHAT, FAMILIES, a_context, a_request

PDF = "data:application/pdf;base64,JVBE"
URL = "https://host/a.pdf"
LOOK = {"type": "text", "text": "Look"}


def file(**fields: Any) -> dict[str, Any]:
    return {"type": "file", "file": fields}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def wanted(*turns: dict[str, Any]) -> list[tuple[str, str, str]]:
    with pytest.raises(DocumentsWanted) as raised:
        chat.to_plan(a_request(*turns), a_context(CHAT))
    return [(each.source, each.name, each.param) for each in raised.value.documents]


def sent(documents: dict[Document, str], *turns: dict[str, Any], model: Any = CHAT) -> Any:
    [call] = chat.to_plan(a_request(*turns), a_context(model, documents=documents)).calls
    return call.body["messages"]


def test_all_files_are_wanted_at_once_and_each_once() -> None:
    turns = [
        {"role": "system", "content": [file(file_data=URL)]},
        user(LOOK, file(file_data=PDF, filename="a.pdf")),
        {"role": "assistant", "content": "Hm"},
        user(file(file_data=PDF, filename="a.pdf"), file(file_data=PDF, filename="b.pdf")),
    ]
    assert wanted(*turns) == [
        (URL, "", "messages[0].content[0].file.file_data"),
        (PDF, "a.pdf", "messages[1].content[1].file.file_data"),
        (PDF, "b.pdf", "messages[3].content[1].file.file_data"),
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_stand_in_the_places_of_files(family: str) -> None:
    turn = user(LOOK, file(file_data=PDF, filename="a.pdf"), {"type": "text", "text": "Well?"})
    turns = sent({Document(PDF, name="a.pdf"): "# Words"}, turn, model=FAMILIES[family])
    expected = "Look\n<document>\nfilename: a.pdf\n# Words\n</document>\nWell?"
    assert turns == [{"role": "user", "content": expected}]


def test_files_stand_beside_pictures_and_in_results_of_tools() -> None:
    picture = "data:image/png;base64,AA"
    made = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns: list[dict[str, Any]] = [
        user({"type": "image_url", "image_url": {"url": picture}}, file(file_data=PDF)),
        {"role": "assistant", "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "c", "content": [file(file_data=PDF)]},
    ]
    context = a_context(CHAT, documents={Document(PDF): "Words"}, pictures={picture: "data:shown"})
    [call] = chat.to_plan(a_request(*turns), context).calls
    first, _, last = call.body["messages"]
    assert first["content"] == [
        {"type": "image_url", "image_url": {"url": "data:shown"}},
        {"type": "text", "text": "<document>\nWords\n</document>"},
    ]
    assert last["content"] == "<document>\nWords\n</document>"


def test_data_uris_in_a_document_are_no_pictures() -> None:
    [turn] = sent({Document(PDF): "![](data:image/png;base64,AA)"}, user(file(file_data=PDF)))
    assert "data:image" not in turn["content"]


@pytest.mark.parametrize("given", [{"file_id": "file-1"}, {"filename": "a.pdf"}, {"file_data": ""}, {}, None])
def test_files_that_are_not_here_are_refused(given: dict[str, Any] | None) -> None:
    with pytest.raises(BadRequestError, match="Files are not stored here") as raised:
        chat.to_plan(a_request(user(LOOK, {"type": "file", "file": given})), a_context(CHAT))
    assert (raised.value.param, raised.value.code) == ("messages[0].content[1].file", "unsupported_content")


@pytest.mark.parametrize("part", [{"type": "input_audio"}, {"type": "document", "document": {"source": PDF}}])
def test_other_parts_are_refused_as_ever(part: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match="it takes text, pictures and files"):
        chat.to_plan(a_request(user(part)), a_context(CHAT))
    with pytest.raises(BadRequestError, match="it takes text, pictures and files"):
        sent({Document(PDF): "Words"}, user(file(file_data=PDF), part))


def test_files_of_the_models_own_turns_are_left_out() -> None:
    assert sent({}, user(LOOK), {"role": "assistant", "content": [file(file_data=PDF), LOOK]}) == [
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": "Look"},
    ]


def a_message(*blocks: dict[str, Any]) -> MessagesRequest:
    return MessagesRequest.model_validate({"model": "m", "messages": [user(*blocks)]})


def document(data: str = "JVBE", **fields: Any) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "application/pdf", "data": data}
    return {"type": "document", "source": source} | fields


def test_documents_of_messages() -> None:
    request = a_message(document(title="T", context="C"), LOOK)
    with pytest.raises(DocumentsWanted) as raised:
        messages.to_plan(request, a_context(CHAT))
    [found] = raised.value.documents
    assert (found, found.param) == (Document("JVBE", "application/pdf"), "messages[0].content[0].source")
    [call] = messages.to_plan(request, a_context(CHAT, documents={found: "Words"})).calls
    expected = "<document>\ntitle: T\ncontext: C\nWords\n</document>\nLook"
    assert call.body["messages"] == [{"role": "user", "content": expected}]


@pytest.mark.parametrize("fields", [{"file_data": PDF}, {"file_url": URL}])
@pytest.mark.parametrize("is_output", [False, True])
def test_files_of_responses(fields: dict[str, str], is_output: bool) -> None:
    part = {"type": "input_file", "filename": "a.pdf"} | fields
    items: list[Any] = [user({"type": "input_text", "text": "Look"}, part)]
    if is_output:
        asked = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
        items = [
            asked,
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "Read"}, part]},
        ]
    exchange = to_exchange(ResponsesRequest(model="m", input=items))
    with pytest.raises(DocumentsWanted) as raised:
        responses.to_plan(exchange, a_context(CHAT))
    [found] = raised.value.documents
    [(field, source)] = fields.items()
    place = "input[1].output[1]" if is_output else "input[0].content[1]"
    assert (found.source, found.name, found.param) == (source, "a.pdf", f"{place}.{field}")
    [call] = responses.to_plan(exchange, a_context(CHAT, documents={found: "Words"})).calls
    assert "<document>\nfilename: a.pdf\nWords\n</document>" in call.body["messages"][-1]["content"]


def test_documents_are_counted_by_their_size() -> None:
    small, large = (count_tokens(a_message(document("A" * 4 * size)), CHAT) for size in (40, 40_000))
    assert 2990 <= large - small <= 3000  # 120,000 bytes
    link = {"type": "document", "source": {"type": "url", "url": URL}}
    assert 4000 < count_tokens(a_message(link, LOOK), CHAT) < 4030
    words = {Document(URL): 4000, Document("A" * 400): 7, Document("A" * 400, "text/plain"): 75}
    assert estimates([*words]) == {document: "word" * tokens for document, tokens in words.items()}
    assert [*estimates([Document("data:text/plain;base64,QUFBQQ==")]).values()] == ["word" * 5]

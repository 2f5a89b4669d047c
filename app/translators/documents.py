"""Documents in a conversation: which files it holds, and how what they say stands in the turns.

A file can only be read by asking somebody, so a plan is made in two goes: the first one raises DocumentsWanted, which
names all files of the conversation; the second one finds their texts in its context. A conversation without files
costs nothing of this.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.calls import Document
from app.errors import BadRequestError
from app.schemas.chat import Message, Part
from app.translators.base import DocumentsWanted

CLOSING = "</document>"

BYTES_PER_TOKEN = 40
"""Of a file: most bytes of a PDF or an office document are fonts, pictures and the look of the page."""
BYTES_PER_TOKEN_OF_TEXT = 4
TOKENS_OF_AN_ADDRESS = 4000
"""What nobody has fetched yet is taken for an article of a few pages."""
FILLER = "word"
"""One token, as `estimate_tokens` counts."""


def opening(**about: str | None) -> str:
    """The line before a document, and what is known of it."""
    return "\n".join(["<document>", *(f"{name}: {value}" for name, value in about.items() if value)])


def to_document(fields: Mapping[str, Any], param: str) -> Document:
    """OpenAI's way to send a file. Raises BadRequestError for one that does not come with the request."""
    for field in ("file_data", "file_url"):
        if isinstance(source := fields.get(field), str) and source:
            name = fields.get("filename")
            return Document(source, name=name if isinstance(name, str) else "", param=f"{param}.{field}")
    raise BadRequestError(
        "Files are not stored here, so that a 'file_id' leads nowhere: send the file itself in 'file_data', as a data "
        "URI (data:application/pdf;base64,...), or as an http(s) address.",
        param=param,
        code="unsupported_content",
    )


def want(messages: list[Message]) -> None:
    """Raises DocumentsWanted if the messages hold files, and BadRequestError for one that can't be read."""
    if documents := tuple(dict.fromkeys(document for message in _found(messages) for document in message.values())):
        raise DocumentsWanted(documents)


def with_texts(messages: list[Message], texts: Mapping[Document, str]) -> list[Message]:
    """The messages with the text of each file in its place."""
    return [
        _with_texts(message, found, texts) if found else message
        for message, found in zip(messages, _found(messages), strict=True)
    ]


def estimates(documents: Sequence[Document]) -> dict[Document, str]:
    """Texts of about the length that each will have, for counting: a token for every 40 bytes of a file, or 4 of a text
    in base64.
    """
    return {document: FILLER * _tokens(document) for document in documents}


def _tokens(document: Document) -> int:
    if document.is_remote:
        return TOKENS_OF_AN_ADDRESS
    is_text = document.media_type.startswith("text/") or document.source.startswith("data:text/")
    return len(document.source) * 3 // 4 // (BYTES_PER_TOKEN_OF_TEXT if is_text else BYTES_PER_TOKEN)


def _with_texts(message: Message, found: Mapping[int, Document], texts: Mapping[Document, str]) -> Message:
    content = message.get("content")
    assert isinstance(content, list)  # noqa: S101 - there were documents in it
    parts = [_framed(found[j], texts[found[j]]) if j in found else part for j, part in enumerate(content)]
    return {**message, "content": parts}


def _framed(document: Document, text: str) -> Part:
    about = opening(title=document.title, context=document.context, filename=document.name)
    return {"type": "text", "text": f"{about}\n{text}\n{CLOSING}"}


def _found(messages: list[Message]) -> Iterator[dict[int, Document]]:
    """For each message: the place of a part -> the file that it is. The model's own turns hold none."""
    for i, message in enumerate(messages):
        content = message.get("content")
        parts = content if isinstance(content, list) and message["role"] != "assistant" else []
        documents = ((j, _document(part, f"messages[{i}].content[{j}].file")) for j, part in enumerate(parts))
        yield {j: document for j, document in documents if document}


def _document(part: Mapping[str, Any], param: str) -> Document | None:
    """`document` is what the other APIs leave in the chat that they become; no JSON can hold one."""
    if isinstance(document := part.get("document"), Document):
        return document
    return to_document(part.get("file") or {}, param) if part.get("type") == "file" else None

"""Translator, SerialTranslator: what an endpoint is to the relay. Plan and Context: what passes between them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from app.calls import Call, Document, Failure, Reply, Usage
from app.catalog import Model
from app.errors import BadRequestError
from app.values import immutable

Request = TypeVar("Request")
Response = TypeVar("Response")
Piece = TypeVar("Piece")
Part = TypeVar("Part")


@immutable
class Context:
    """All that a translator knows besides the body."""

    model: Model
    name: str
    """The model as the caller wrote it, which is what answers call it."""
    id: str
    """Random and unique: the end of the response's id, and the root of the ids inside."""
    created: int
    """Unix seconds."""
    pictures: Mapping[str, str] = field(default_factory=dict)
    """The picture addresses of the request -> data URIs that the model takes."""
    documents: Mapping[Document, str] = field(default_factory=dict)
    """The files of the request -> what they say, once DocumentsWanted has asked for that."""
    default_max_tokens: int | None = None
    """Length of an answer when the caller sets none; None leaves it to the model's row."""
    affinity: str | None = None
    """What ties requests with an equal beginning together."""
    tool_emulation: bool = True
    """Models that can't call tools may be told them in the prompt."""

    @property
    def emulates_tools(self) -> bool:
        """Whether tools and their calls are texts to this model. One that only judges texts has no use for them."""
        return self.tool_emulation and not self.model.can("function-calling") and self.model.task != "moderation"


@immutable
class Picture:
    """A picture that a request names, and where in the request."""

    url: str
    param: str
    is_found: bool = False
    """By a tool: a model that can't see is told that there is one. Others it refuses."""


class DocumentsWanted(Exception):  # noqa: N818 - a question, not a failure
    """No plan can be made before these files are read, each of which is named once."""

    def __init__(self, documents: Sequence[Document]) -> None:
        super().__init__(f"{len(documents)} documents")
        self.documents = documents


class Incremental(Protocol):
    """Turns the upstream events of one request into the bytes of its event stream. No I/O."""

    def feed(self, choice: int, payloads: Sequence[bytes]) -> bytes:
        """Events that arrived together -> what to send, possibly nothing. Raises Failure."""

    def replay(self, choice: int, reply: Reply) -> bytes:
        """A whole reply, where a stream was asked for -> what to send. Raises Failure."""

    def finish(self, choice: int) -> bytes:
        """The upstream stream has ended -> the end of this choice. Raises Failure if that was too early."""

    def is_done(self, choice: int) -> bool:
        """Nothing further is wanted of this choice: its upstream stream can be closed."""

    def is_plain(self, choice: int = 0) -> bool:
        """Texts of this choice go out as they come in, and none of them ends it."""

    def end(self) -> bytes:
        """What closes the whole stream."""

    @property
    def usage(self) -> Usage: ...


@immutable
class Plan(Generic[Request]):
    """The calls that answer a request, and what reading their replies needs to know."""

    request: Request
    context: Context
    calls: tuple[Call, ...]
    ignored: tuple[str, ...] = ()
    """Parameters that the model can't honour and that don't change what the answer means."""
    reading: Any = None
    """The translator's own; see there."""


def no_stream(_plan: Plan[Any]) -> Incremental:
    raise BadRequestError("This endpoint does not stream.", param="stream", code="unsupported_parameter")


def no_second_try(_plan: Plan[Any], _call: Call, _outcome: Reply | Failure) -> Call | None:
    return None


def no_pictures(_request: Any) -> list[Picture]:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner(Generic[Request]):
    """What all endpoints have in common."""

    tasks: frozenset[str]
    """The catalogue's tasks whose models can answer."""
    endpoint: str
    """Its path, for messages."""
    to_plan: Callable[[Request, Context], Plan[Request]]
    """Raises BadRequestError, and DocumentsWanted where the context lacks what files of the request say."""
    pictures: Callable[[Request], list[Picture]] = no_pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Translator(Planner[Request], Generic[Request, Response]):
    """An endpoint as pure functions."""

    from_replies: Callable[[Plan[Request], Sequence[Reply]], tuple[Response, Usage]]
    to_stream: Callable[[Plan[Request]], Incremental] = no_stream
    again: Callable[[Plan[Request], Call, Reply | Failure], Call | None] = no_second_try
    """What to send instead after a reply or a failure that a changed call can mend; None to leave it at that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialTranslator(Planner[Request], Generic[Request, Piece, Part]):
    """An endpoint whose request comes in pieces, each of which is a call of its own, as pure functions.

    Its plan has no calls: they are made as the pieces come.
    """

    to_call: Callable[[Plan[Request], Piece, Sequence[Part]], Call | None]
    """The call for a piece, given the parts before it as far as they are there; None if it needs no call."""
    from_reply: Callable[[Plan[Request], Piece, Reply | None], Part]
    """What became of a piece; of one without a call too. Raises Failure for a reply that can't be read."""
    from_failure: Callable[[Plan[Request], Piece, Failure], Part | None]
    """What a failure means, if it is an answer of its own kind; None if it is a failure."""

"""Planning, with the real catalogue and chat translator; through the relay where what is sent tells what was meant."""

import asyncio
import base64
import io
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from app.calls import Limits
from app.catalog import Catalog
from app.errors import BadRequestError, ModelNotFoundError, NotFoundError
from app.media.loader import PictureLoader
from app.planning import MOST_DOCUMENTS, MOST_PICTURES, Planning
from app.schemas.embeddings import EmbeddingRequest
from app.translators.chat import chat
from app.translators.embeddings import embeddings
from app.upstream.client import WorkersAI
from tests.documents import data_uri, pdf
from tests.test_relay import BLIND, CALLER, HELLO, NATIVE, SEEING, STRANGER, Web, asking, relay
from tests.upstream.replaying import Outcome, Replaying, Sleeper, whole

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def _no_task_is_left() -> AsyncGenerator[None]:
    yield
    left = [task.get_coro() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert [job for job in left if not str(job).startswith("<coroutine object TestRunner.")] == []


def planning(*outcomes: Outcome) -> tuple[Planning, Replaying]:
    transport = Replaying(*outcomes)
    return Planning(Catalog.load(), WorkersAI(transport, sleep=Sleeper()), PictureLoader(Web())), transport


def showing(*urls: str) -> list[Any]:
    return [{"type": "text", "text": "look"}, *({"type": "image_url", "image_url": {"url": url}} for url in urls)]


class TestModels:
    @pytest.mark.parametrize(
        ("name", "model", "path"),
        [
            (NATIVE, NATIVE, f"/run/{NATIVE}"),
            ("mine", NATIVE, f"/run/{NATIVE}"),
            ("gpt-4", NATIVE, f"/run/{NATIVE}"),
            ("eyes", BLIND, "/v1/chat/completions"),
        ],
    )
    async def test_a_name_leads_to_a_model(self, name: str, model: str, path: str) -> None:
        relays, transport, _ = relay(whole(HELLO))
        answered = await relays.complete(chat, name, asking(), CALLER)
        assert answered.plan.context.model.id == model
        assert answered.body["model"] == name
        assert transport.requests[0].url.path.endswith(path)

    async def test_an_unknown_name_is_not_found(self) -> None:
        with pytest.raises(ModelNotFoundError):
            await relay()[0].complete(chat, "gpt-9", asking(), CALLER)

    async def test_a_model_of_another_task_is_refused(self) -> None:
        with pytest.raises(BadRequestError, match="text-embeddings and can't answer /v1/chat/completions") as caught:
            await relay()[0].stream(chat, "text-embedding-3-small", asking(), CALLER)
        assert (caught.value.status, caught.value.param, caught.value.code) == (400, "model", "unsupported_model")

    async def test_the_length_of_an_answer_may_be_a_setting(self) -> None:
        relays, transport, _ = relay(whole(HELLO), default_max_tokens=77)
        await relays.complete(chat, "mine", asking(), CALLER)
        assert transport.bodies[0]["max_tokens"] == 77

    async def test_requests_with_a_cache_key_stay_together_for_each_caller(self) -> None:
        relays, transport, _ = relay(*(whole(HELLO) for _ in range(5)))
        requests = [(CALLER, "a"), (CALLER, "a"), (CALLER, "b"), (STRANGER, "a"), (replace(CALLER, affinity="a"), None)]
        for caller, key in requests:
            await relays.complete(chat, "mine", asking(prompt_cache_key=key), caller)
        first, same, other, stranger, header = (each.headers["x-session-affinity"] for each in transport.requests)
        assert first == same == header
        assert len({first, other, stranger}) == 3

    async def test_a_conversation_stays_together_by_its_beginning(self) -> None:
        relays, transport, _ = relay(*(whole(HELLO) for _ in range(4)))
        turns = [{"role": role, "content": role} for role in ("system", "user", "assistant", "user")]
        other = [{"role": "system", "content": "another"}, *turns[1:]]
        for messages in (turns[:2], turns, other):
            await relays.complete(chat, "mine", asking(messages=messages), CALLER)
        short, long, different = (each.headers["x-session-affinity"] for each in transport.requests)
        assert short == long != different

    async def test_numbers_of_any_size_in_unknown_fields_tell_conversations_apart(self) -> None:
        made, _ = planning()
        turns = [[{"role": "user", "content": "hi", "seen": seen}] for seen in (10**30, 10**30, 10**31)]
        plans = [await made.plan(chat, NATIVE, asking(messages=each), CALLER) for each in turns]
        first, same, other = (plan.context.affinity for plan in plans)
        assert first == same != other

    async def test_what_has_neither_key_nor_turns_belongs_nowhere(self) -> None:
        relays, transport, _ = relay(whole({"data": [[0.5]], "shape": [1, 1]}))
        request = EmbeddingRequest.model_validate({"model": "-", "input": "hi"})
        await relays.complete(embeddings, "@cf/baai/bge-m3", request, CALLER)
        assert "x-session-affinity" not in transport.requests[0].headers

    async def test_a_key_may_be_for_some_models(self) -> None:
        relays, transport, _ = relay(whole(HELLO))
        caller = replace(CALLER, limits=Limits(models=("mine",)))
        await relays.complete(chat, "mine", asking(), caller)
        for name in (NATIVE, BLIND):
            with pytest.raises(NotFoundError):
                await relays.complete(chat, name, asking(), caller)
        assert len(transport.requests) == 1


class TestPictures:
    async def test_a_blind_model_refuses_them(self) -> None:
        with pytest.raises(BadRequestError, match="can't see pictures") as caught:
            await relay()[0].complete(chat, BLIND, asking(showing("https://a.test/1")), CALLER)
        assert caught.value.param == "messages[0].content[1].image_url.url"
        assert caught.value.code == "unsupported_content"

    async def test_a_blind_model_does_without_those_that_its_tools_have_found(self) -> None:
        """Otherwise an agent that has looked at one could never go on."""
        relays, transport, web = relay(whole(HELLO))
        result = {"role": "tool", "tool_call_id": "a", "content": showing("https://a.test/1")}
        await relays.complete(chat, BLIND, asking("hi", messages=[{"role": "user", "content": "hi"}, result]), CALLER)
        assert "image_url" not in str(transport.bodies[0])
        assert web.fetched == []

    async def test_another_model_may_take_over(self) -> None:
        relays, transport, _ = relay(whole({"choices": [{"message": {"content": "a cat"}}]}), whole(HELLO))
        seen = await relays.complete(chat, "eyes", asking(showing("https://a.test/1")), CALLER)
        await relays.complete(chat, "eyes", asking("hi"), CALLER)
        assert [body["model"] for body in transport.bodies] == [SEEING, BLIND]
        assert seen.plan.context.model.default_effort == "none"
        assert seen.body["model"] == "eyes"

    async def test_each_address_is_loaded_once_and_sent_inline(self) -> None:
        relays, transport, web = relay(whole(HELLO))
        urls = ["https://a.test/1", "https://a.test/2", "https://a.test/1"]
        await relays.complete(chat, SEEING, asking(showing(*urls)), CALLER)
        parts = transport.bodies[0]["messages"][0]["content"]
        sent = [part["image_url"]["url"] for part in parts[1:]]
        assert len(sent) == 3
        assert sorted(web.fetched) == ["https://a.test/1", "https://a.test/2"]
        picture = Image.open(io.BytesIO(base64.b64decode(sent[0].removeprefix("data:image/png;base64,"))))
        assert picture.width == Catalog.load().resolve(SEEING).quirks.picture_max_side

    async def test_one_that_is_missing_ends_the_request(self) -> None:
        relays, transport, _ = relay()
        urls = ["https://a.test/1", "https://a.test/missing", "https://a.test/missing"]
        with pytest.raises(BadRequestError) as caught:
            await relays.complete(chat, SEEING, asking(showing(*urls)), CALLER)
        assert caught.value.param == "messages[0].content[2].image_url.url"
        assert transport.requests == []

    async def test_a_request_can_have_so_many_different_ones(self) -> None:
        relays, _, web = relay(whole(HELLO))
        urls = [f"https://a.test/{number}" for number in range(MOST_PICTURES + 1)]
        with pytest.raises(BadRequestError, match="64 different pictures") as caught:
            await relays.complete(chat, SEEING, asking(showing(*urls)), CALLER)
        assert caught.value.code == "too_many_pictures"
        assert caught.value.param == f"messages[0].content[{MOST_PICTURES + 1}].image_url.url"
        assert web.fetched == []
        with pytest.raises(BadRequestError) as caught:
            await relays.complete(chat, SEEING, asking(showing(urls[0], *urls)), CALLER)
        assert caught.value.param == f"messages[0].content[{MOST_PICTURES + 2}].image_url.url"
        await relays.complete(chat, SEEING, asking(showing(*urls[:-1], urls[0])), CALLER)
        assert sorted(web.fetched) == sorted(urls[:-1])


class TestDocuments:
    """More of them, with the model that is asked afterwards, are in test_documents.py."""

    @staticmethod
    def files(*data_uris: str) -> list[Any]:
        return [{"type": "file", "file": {"file_data": each}} for each in data_uris]

    async def test_cloudflare_reads_what_is_not_a_text_and_each_file_once(self) -> None:
        result = [{"id": "1", "name": "document.pdf", "format": "markdown", "tokens": 1, "data": "Read"}]
        made, transport = planning(whole({"success": True, "result": result}))
        paper, note = data_uri(pdf("A")), data_uri(b"Written", "text/plain")
        plan = await made.plan(chat, NATIVE, asking(self.files(paper, note, paper)), CALLER)
        assert list(plan.context.documents.values()) == ["Read", "Written"]
        assert [request.url.path.rpartition("/")[2] for request in transport.requests] == ["tomarkdown"]

    async def test_a_request_can_have_so_many_different_ones(self) -> None:
        made, transport = planning()
        notes = [data_uri(str(number).encode(), "text/plain") for number in range(MOST_DOCUMENTS + 1)]
        with pytest.raises(BadRequestError, match="64 different documents") as caught:
            await made.plan(chat, NATIVE, asking(self.files(notes[0], *notes)), CALLER)
        assert caught.value.code == "too_many_documents"
        assert caught.value.param == f"messages[0].content[{MOST_DOCUMENTS + 1}].file.file_data"
        plan = await made.plan(chat, NATIVE, asking(self.files(notes[0], *notes[:-1])), CALLER)
        assert len(plan.context.documents) == MOST_DOCUMENTS
        assert transport.requests == []

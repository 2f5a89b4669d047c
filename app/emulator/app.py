"""The application that answers as Cloudflare's API does: paths, credentials, and the way from a path to a task."""

import os
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, unquote

import anyio
from starlette.types import Receive, Scope, Send

from app.catalog import Catalog, Model
from app.catalog.models import MODEL_ID
from app.emulator import markdown
from app.emulator.bodies import body_of, check_takes_json
from app.emulator.classification import run_text_classification
from app.emulator.embeddings import run_embeddings
from app.emulator.faults import (
    Fault,
    bad_input,
    no_credentials,
    no_method,
    no_route,
    no_such_model,
    not_authenticated,
    paid_plan_needed,
    retired,
)
from app.emulator.gateway import Gateways
from app.emulator.gateway_entries import Entry, entry_of
from app.emulator.images import run_text_to_image
from app.emulator.meters import Meters
from app.emulator.models_search import searched
from app.emulator.options import Options
from app.emulator.replies import Reply, fault_reply, json_reply
from app.emulator.requests import ClientGone, ReceivedRequest, receive_request
from app.emulator.rerank import run_rerank
from app.emulator.run import Run
from app.emulator.speech import run_speech
from app.emulator.texts import run_responses, run_text
from app.emulator.transcription import run_transcription
from app.emulator.translation import run_translation
from app.emulator.turns import run_turn_detection
from app.emulator.vision import run_image_classification, run_image_to_text, run_object_detection

Answerer = Callable[[Run, Meters], Reply | Awaitable[Reply]]
TASKS: dict[str, Answerer] = {
    "text-generation": run_text,
    "moderation": run_text,
    "text-embeddings": run_embeddings,
    "rerank": run_rerank,
    "text-classification": run_text_classification,
    "translation": run_translation,
    "image-classification": run_image_classification,
    "object-detection": run_object_detection,
    "image-to-text": run_image_to_text,
    "text-to-image": run_text_to_image,
    "automatic-speech-recognition": run_transcription,
    "text-to-speech": run_speech,
    "voice-activity-detection": run_turn_detection,
}
"""Task of a model -> what answers its runs."""
OPENAI_TASKS: dict[str, dict[str, Answerer]] = {
    "v1/chat/completions": {name: TASKS[name] for name in ("text-generation", "moderation")},
    "v1/responses": {"text-generation": run_responses},
    "v1/embeddings": {"text-embeddings": run_embeddings},
}
"""Path of OpenAI's -> the tasks it is for, the first of which is that of a model nobody knows."""

PROCESS = os.getpid()
"""Part of every id, so that several processes give different ones."""
ACCOUNT_PATH = re.compile(r"(?:/client/v4)?/accounts/([^/]+)/ai/(.+)")
VERIFY_PATH = re.compile(r"(?:/client/v4)?/user/tokens/verify")


def create_emulator(options: Options | None = None, catalog: Catalog | None = None) -> "Emulator":
    """An ASGI application. `catalog` is the built-in one unless another is given."""
    return Emulator(options or Options(), catalog or Catalog.load())


class Emulator:
    """`requests`, `open_requests`, `cancelled_requests` and `meters` are for tests to look at."""

    def __init__(self, options: Options, catalog: Catalog) -> None:
        self.options = options
        self.requests: deque[ReceivedRequest] = deque(maxlen=options.kept_requests)
        self.open_requests = 0
        """Requests whose answer is not through yet."""
        self.cancelled_requests = 0
        """Requests whose client left before its answer was through."""
        self.meters = Meters(options)
        self._models: Mapping[str, Model] = {model.id: model for model in (*catalog, *options.models)}
        self._gateways = Gateways(options.gateways, self._task_of)
        self._licensed: set[tuple[str, str]] = set()
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.open_requests += 1
        try:
            await self._answer(scope, receive, send)
        except ClientGone:
            self.cancelled_requests += 1
        finally:
            self.open_requests -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await receive_request(scope, receive, self.options.max_body_bytes)
        self.requests.append(request)
        reply = await self._reply(request)
        is_through = False
        async with anyio.create_task_group() as tasks:

            async def leave() -> None:
                await receive()  # the body is read, so all that can come is the disconnect
                tasks.cancel_scope.cancel()

            tasks.start_soon(leave)
            await reply.send(send)
            is_through = True
            tasks.cancel_scope.cancel()
        self.cancelled_requests += not is_through

    async def _reply(self, request: ReceivedRequest) -> Reply:
        request_id = f"{next(self._numbers):08x}-0404-4429-9304-0{PROCESS:011x}"  # digits that are no status
        try:
            reply = await self._route(request, request_id)
        except Fault as fault:
            reply = fault_reply(fault, request_id, self.options.quirks)
        headers = {"cf-ray": f"{request_id[:8]}{PROCESS:08x}-EMU", "cf-ai-req-id": request_id}
        return replace(reply, headers=reply.headers | headers)

    async def _route(self, request: ReceivedRequest, request_id: str) -> Reply:
        if VERIFY_PATH.fullmatch(request.path):
            return self._verify(request)
        if entry := entry_of(request):
            _expect(request, "POST")
            return await self._gateways.passed(entry, request, partial(self._behind_gateway, request_id))
        found = ACCOUNT_PATH.fullmatch(request.path)
        if not found:
            raise no_route(request.path)
        account, rest = found.groups()
        self._authenticate(account, request)
        if rest == "models/search":
            _expect(request, "GET")
            return json_reply(searched(self._models.values(), dict(parse_qsl(request.query))))
        if rest == "tomarkdown":
            _expect(request, "POST")
            return _enveloped(markdown.converted(request, request_id, self.options.max_body_bytes))
        if rest == "tomarkdown/supported":
            _expect(request, "GET")
            return _enveloped(markdown.supported())
        return await self._run_at(rest, account, request, request_id)

    async def _behind_gateway(
        self, request_id: str, entry: Entry, request: ReceivedRequest, foreign: Model | None
    ) -> Reply:
        """The gateway itself vouches for models of other providers on its own host, and their runs cost no neurons."""
        try:
            if foreign is None or not entry.is_host:
                self._authenticate(entry.account, request)
            payer = entry.account if foreign is None else f"{entry.account} at {entry.gateway}"
            return await self._run_at(entry.path, payer, request, request_id, foreign)
        except Fault as fault:
            return fault_reply(fault, request_id, self.options.quirks)

    async def _run_at(
        self, path: str, account: str, request: ReceivedRequest, request_id: str, foreign: Model | None = None
    ) -> Reply:
        if not (path in OPENAI_TASKS or path == "run" or path.startswith("run/")) or "%2f" in path.lower():
            raise no_route(request.path)
        _expect(request, "POST")
        _check_options(request.query)
        tasks = OPENAI_TASKS.get(path, TASKS)
        if path.startswith("run/"):
            model = self._model(unquote(path[len("run/") :]), tasks)
            body = body_of(request, model, self.options.max_body_bytes)
        else:
            body = body_of(request, None, self.options.max_body_bytes)
            name = body.fields.pop("model", None)
            model = foreign or self._model(name, tasks)
            check_takes_json(model)
        run = Run(
            id=request_id,
            account=account,
            model=model,
            is_openai=path in OPENAI_TASKS,
            body=_input(body.fields) if path == "run" else body.fields,
            created=int(time.time()),
            base_quirks=self.options.quirks,
            affinity=request.headers.get("x-session-affinity"),
            data=body.data,
        )
        return await self._run(run, tasks)

    def _verify(self, request: ReceivedRequest) -> Reply:
        _expect(request, "GET")
        token, tokens = _bearer(request), self.options.tokens
        if tokens is not None and token not in tokens.values():
            raise not_authenticated()
        result = {"id": "00000000000000000000000000000000", "status": "active"}
        messages = [{"code": 10000, "message": "This API Token is valid and active", "type": None}]
        return json_reply({"result": result, "success": True, "errors": [], "messages": messages})

    def _authenticate(self, account: str, request: ReceivedRequest) -> None:
        token, tokens = _bearer(request), self.options.tokens
        if tokens is None:
            return
        if account not in tokens:
            raise no_route(request.path)
        if tokens[account] != token:
            raise not_authenticated()

    def _task_of(self, model_id: str) -> str | None:
        model = self._models.get(model_id)
        return model.task if model else None

    def _model(self, model_id: Any, tasks: Mapping[str, Answerer]) -> Model:
        model = self._models.get(model_id) if isinstance(model_id, str) else None
        if model is None and self.options.any_model and MODEL_ID.fullmatch(str(model_id)):
            model = Model(str(model_id), next(iter(tasks)))
        if model is None:
            raise no_such_model(str(model_id))
        return model

    async def _run(self, run: Run, tasks: Mapping[str, Answerer]) -> Reply:
        quirks = run.quirks
        try:
            run = self._admitted(run, tasks)
            answer = tasks[run.model.task](run, self.meters)
            reply = answer if isinstance(answer, Reply) else await answer
        except Fault as fault:
            reply = fault_reply(fault, run.id, quirks)
        return replace(
            reply,
            first_pause_seconds=reply.first_pause_seconds + self.options.latency_seconds,
            pause_seconds=reply.pause_seconds or (self.options.token_seconds if run.wants_stream else 0),
        )

    def _admitted(self, run: Run, tasks: Mapping[str, Answerer]) -> Run:
        """The run, with the model that really answers it."""
        model = run.model
        if model.status == "deprecated":
            if "quiet-replacement" not in run.quirks:
                raise retired(model.id)
            run = replace(run, model=self._models[str(model.replacement)])
        if run.model.task not in tasks:
            raise no_such_model(model.id)
        if run.model.requires_paid_plan and self.options.free_plan:
            raise paid_plan_needed(run.model.id)
        self.meters.check_pace(run.account)
        self.meters.check_allowance(run.account)
        self._check_license(run)
        busy = run.body.get("options")
        wants_refusal = isinstance(busy, dict) and busy.get("rejectIfBusy") is True
        self.meters.check_capacity(run.model.id, reject_if_busy=wants_refusal)
        return run

    def _check_license(self, run: Run) -> None:
        prompt = run.model.quirks.license_prompt
        if prompt is None or not self.options.needs_license:
            return
        if run.body.get("prompt") == prompt:
            self._licensed.add((run.account, run.model.id))
        if (run.account, run.model.id) not in self._licensed:
            raise Fault(5016)


def _enveloped(result: Any) -> Reply:
    return json_reply({"result": result, "success": True, "errors": [], "messages": []})


def _input(body: dict[str, Any]) -> dict[str, Any]:
    """The model's own body inside that of `ai/run` without a model in the path."""
    inner = body.get("input")
    if not isinstance(inner, dict):
        raise bad_input("required properties at '/' are 'input'")
    return inner | ({"options": body["options"]} if "options" in body else {})


def _check_options(query: str) -> None:
    """Options of a run stand in the query; the emulator has no queue, and the others change nothing."""
    if dict(parse_qsl(query)).get("queueRequest", "false") != "false":
        raise bad_input("'queueRequest' must be false: the emulator has no queue")


def _expect(request: ReceivedRequest, method: str) -> None:
    if request.method != method:
        raise no_method(request.method)


def _bearer(request: ReceivedRequest) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise no_credentials()
    return token

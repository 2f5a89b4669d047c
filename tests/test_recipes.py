"""The README's recipes hold: what they have typed in is read as its client reads it, sent as it sends it, and answered.

Sources: Open WebUI's `config.py` and its routers for chats, images, audio and retrieval, LobeChat's
`openaiCompatibleFactory`, Cherry Studio's `utils/api.ts` and `listModels.ts`. In `tests/agents` the real Claude Code,
Codex and opencode follow theirs.
"""

import json
import re
import tomllib
from typing import Any

import httpx2
import openai
import pytest

from app.catalog import Catalog
from tests.recipes import ADDRESS, README, README_KEY, environment, recipe, snippet
from tests.serving import (
    BEARER,
    DEADLINE_SECONDS,
    KEY,
    NO_TLS,
    Cloudflare,
    Server,
    asked,
    connected,
    flarelay,
    payloads,
)
from tests.sounding import recording
from tests.test_clients_uis import USAGE

CLIENTS = ("Claude Code", "Codex", "opencode", "Open WebUI", "LobeChat", "Cherry Studio")
HI: list[Any] = [{"role": "user", "content": "Hello"}]


def typed(client: str, server: Server) -> str:
    """The address that the text of a recipe has typed in, beside its snippets."""
    (address,) = set(re.findall(rf"`({ADDRESS}[^`]*)`", recipe(client)))
    return str(address).replace(ADDRESS, server.url)


def chatted(base_url: str, model: str, key: str = KEY) -> str | None:
    """As whoever uses OpenAI's clients."""
    with openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=DEADLINE_SECONDS) as client:
        return client.chat.completions.create(model=model, messages=HI).choices[0].message.content


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_has_a_recipe(client: str) -> None:
    assert ADDRESS in recipe(client)


def test_every_model_that_the_readme_names_is_in_the_catalogue() -> None:
    names = set(re.findall(r"@cf/[\w./-]+\w", README))
    assert len(names) > 5
    assert names <= {model.id for model in Catalog.load()}


def test_claude_code_gets_the_models_that_it_asks_for(http: httpx2.Client, server: Server) -> None:
    variables = environment("Claude Code", server)
    assert variables == {"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_AUTH_TOKEN": KEY}
    body = {"max_tokens": 20, "messages": HI}
    names = ("claude-opus-4-8", "claude-sonnet-5", "claude-haiku-4-5-20251001")
    answers = [http.post("/v1/messages?beta=true", json=body | {"model": name}) for name in names]
    assert len({answer.headers["x-flarelay-model"] for answer in answers}) == 3


def test_an_alias_of_the_readme_changes_what_opus_is(upstream: Cloudflare, monkeypatch: pytest.MonkeyPatch) -> None:
    (aliases,) = re.findall(r"^MODEL_ALIASES=(.+)$", recipe("Claude Code"), re.MULTILINE)
    monkeypatch.setenv("MODEL_ALIASES", aliases)
    body = {"model": "claude-opus-4-8", "max_tokens": 20, "messages": HI}
    with flarelay(upstream) as server, connected(server) as client:
        answer = client.post("/v1/messages", json=body)
    assert [answer.headers["x-flarelay-model"]] == list(json.loads(aliases).values())


def test_codex_reads_its_configuration(http: httpx2.Client, server: Server) -> None:
    config = tomllib.loads(snippet("Codex", "toml", server))
    provider = config["model_providers"][config["model_provider"]]
    assert (provider["wire_api"], provider["base_url"]) == ("responses", f"{server.url}/v1")
    assert f"export {provider['env_key']}={README_KEY}" in recipe("Codex")
    answer = http.post(f"{provider['base_url']}/responses", json={"model": config["model"], "input": "Hello"})
    assert answer.json()["status"] == "completed"
    model = Catalog.load().resolve(answer.headers["x-flarelay-model"])
    assert config["model_context_window"] == model.context_window


def test_opencode_reads_its_configuration(server: Server) -> None:
    config = json.loads(snippet("opencode", "json", server))
    provider = config["provider"]["flarelay"]
    catalog = Catalog.load()
    windows = {name: model["limit"]["context"] for name, model in provider["models"].items()}
    assert windows == {name: catalog.resolve(name).context_window for name in windows}
    assert {config["model"], config["small_model"]} == {f"flarelay/{name}" for name in windows}
    for name in windows:
        assert chatted(provider["options"]["baseURL"], name)


def test_open_webui_reads_its_environment(server: Server) -> None:
    """Unset addresses of its engines are that of the chats; so are the keys. Source: Open WebUI's `config.py`."""
    variables = environment("Open WebUI", server)
    base = typed("Open WebUI", server)
    assert variables["OPENAI_API_BASE_URL"] == base == f"{server.url}/v1"
    key = {"authorization": f"Bearer {variables['OPENAI_API_KEY']}"}
    with httpx2.Client(headers=key, timeout=DEADLINE_SECONDS, verify=NO_TLS) as client:
        models = [model["id"] for model in client.get(f"{base}/models").json()["data"]]
        assert set(models) >= {variables["IMAGE_GENERATION_MODEL"], variables["RAG_EMBEDDING_MODEL"]}
        form = {"model": variables["IMAGE_GENERATION_MODEL"], "prompt": "A cat", "n": 1, "size": "512x512"}
        made = client.post(f"{base}/images/generations", json=form | {"response_format": "b64_json"})
        assert made.json()["data"][0]["b64_json"]
        line = {"model": variables["AUDIO_TTS_MODEL"], "input": "Hello.", "voice": variables["AUDIO_TTS_VOICE"]}
        spoken = client.post(f"{base}/audio/speech", json=line)
        assert spoken.headers["content-type"] == "audio/mpeg"
        file = {"file": ("audio.wav", recording(["hello"]), "audio/wav")}
        heard = client.post(f"{base}/audio/transcriptions", files=file, data={"model": variables["AUDIO_STT_MODEL"]})
        assert isinstance(heard.json()["text"], str)
        texts = {"input": ["One"], "model": variables["RAG_EMBEDDING_MODEL"]}
        vector = client.post(f"{base}/embeddings", json=texts).json()["data"][0]["embedding"]
        assert all(isinstance(number, float) for number in vector)


def test_open_webui_shows_a_stream(http: httpx2.Client, server: Server) -> None:
    request = asked("Hello", "gpt-4o", stream=True, stream_options=USAGE)
    response = http.post(f"{typed('Open WebUI', server)}/chat/completions", json=request)
    assert "text/event-stream" in response.headers["content-type"]
    assert payloads(response.text)[-2]["usage"]["total_tokens"] > 0


def test_lobechat_reads_its_environment(server: Server) -> None:
    variables = environment("LobeChat", server)
    base = variables["OPENAI_PROXY_URL"]
    assert base == typed("LobeChat", server) == f"{server.url}/v1"
    first, *names = variables["OPENAI_MODEL_LIST"].split(",")
    assert first == "-all"
    assert names
    for name in names:
        assert chatted(base, name.removeprefix("+"), variables["OPENAI_API_KEY"])


def test_lobechat_asks_from_the_browser(http: httpx2.Client, server: Server) -> None:
    base = typed("LobeChat", server)
    asks = {"origin": "https://lobe.example", "access-control-request-method": "POST"}
    wanted = "authorization,content-type,x-stainless-lang,x-stainless-os"
    with httpx2.Client(verify=NO_TLS) as browser:
        headers = asks | {"access-control-request-headers": wanted}
        preflight = browser.options(f"{base}/chat/completions", headers=headers)
    assert preflight.is_success
    assert preflight.headers["access-control-allow-headers"].replace(" ", "") == wanted
    request = asked("Hello", "gpt-4o", stream=True, stream_options=USAGE, user="me", top_p=1, presence_penalty=0)
    answer = http.post(f"{base}/chat/completions", json=request, headers={"accept": "*/*", "origin": asks["origin"]})
    assert answer.headers["access-control-allow-origin"]
    last, done = payloads(answer.text)[-2:]
    assert (last["choices"], done) == ([], "[DONE]")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", {"messages": HI, "stream": True, "stream_options": USAGE}),
        ("responses", {"input": "Hello"}),
        ("messages", {"messages": HI, "max_tokens": 20}),
        ("embeddings", {"model": "@cf/baai/bge-m3", "input": ["One"]}),
        ("rerank", {"model": "@cf/baai/bge-reranker-base", "query": "One", "documents": ["One", "Two"], "top_n": 2}),
    ],
)
def test_cherry_studio_adds_the_version_itself(server: Server, path: str, body: dict[str, Any]) -> None:
    base = f"{typed('Cherry Studio', server)}/v1"
    assert base == f"{server.url}/v1"
    with httpx2.Client(headers=BEARER | {"x-api-key": KEY}, timeout=DEADLINE_SECONDS, verify=NO_TLS) as client:
        models = client.get(f"{base}/models").json()["data"]
        assert all(isinstance(model["id"], str) for model in models)
        answer = client.post(f"{base}/{path}", json={"model": "gpt-4o"} | body)
    assert answer.status_code == 200
    assert body.get("model", "") in recipe("Cherry Studio")

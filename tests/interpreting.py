"""What a translation should read like: the emulator's made-up words as they reach a client, and the calls they cost."""

from typing import Any

from app.emulator.pseudo import pseudo
from app.emulator.requests import ReceivedRequest
from app.translation.chinese import to_form
from tests.serving import Cloudflare

M2M100 = "@cf/meta/m2m100-1.2b"
INDIC = "@cf/ai4bharat/indictrans2-en-indic-1B"
LLM = "@cf/google/gemma-4-26b-a4b-it"
"""What `gpt-4o-mini` stands for."""

FORMS = {"zh-Hans": "zh", "zh-Hant": "zh", "zh-Hant-HK": "zh"}
"""m2m100 writes one of the forms of Chinese; the others are made of it."""


def said(text: str, source: str = "en", target: str = "zh-Hans") -> str:
    """One sentence as m2m100 translates it. Languages are m2m100's codes, or forms of Chinese."""
    return to_form(pseudo(text, FORMS.get(source, source), FORMS.get(target, target)), target)


def calls(upstream: Cloudflare) -> list[ReceivedRequest]:
    """Every run of a model that is remembered."""
    return [request for request in list(upstream.emulator.requests) if "/ai/" in request.path]


def models(upstream: Cloudflare) -> list[str]:
    """Which models ran, in order."""
    named = [(request.path.partition("/ai/run/")[2], request.body) for request in calls(upstream)]
    return [name or body["model"] for name, body in named]


def prompts(upstream: Cloudflare) -> list[tuple[str, str]]:
    """The system's and the user's turn of every chat that ran."""
    turns: list[Any] = [request.body["messages"] for request in calls(upstream) if "messages" in request.body]
    return [(system["content"], user["content"]) for system, user in turns]

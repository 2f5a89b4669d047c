"""How much a model shall think, in each model's own terms."""

from typing import Any

import pytest

from app.catalog import Catalog
from app.translators.thinking import Thinking, thinking_of, to_thinking
from tests.translators.chats import a_request

CATALOG = Catalog.load()

OFF = Thinking({"chat_template_kwargs": {"enable_thinking": False}})
LITTLE = Thinking({"chat_template_kwargs": {"low_effort": True}})
UNHEARD = Thinking(is_honoured=False)


def effort(level: str, *, is_honoured: bool = True) -> Thinking:
    return Thinking({"reasoning_effort": level}, is_honoured=is_honoured)


LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
LOW, MEDIUM, HIGH, XHIGH, MAX, NONE = map(effort, ("low", "medium", "high", "xhigh", "max", "none"))
AS_IS = Thinking()
OSS = [effort("low", is_honoured=False), LOW, LOW, MEDIUM, HIGH, HIGH, HIGH]
SWITCHED = [OFF] + [UNHEARD] * 6
DEEPSEEK = [NONE, LOW, LOW, HIGH, HIGH, HIGH, MAX]
ALWAYS = [effort("low", is_honoured=False), LOW, LOW, HIGH, HIGH, MAX, MAX]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("@cf/openai/gpt-oss-20b", OSS),
        ("@cf/openai/gpt-oss-120b", OSS),
        ("@cf/moonshotai/kimi-k2.6", [NONE] + [HIGH] * 6),
        ("@cf/moonshotai/kimi-k2.7-code", [UNHEARD] * 7),
        ("@cf/zai-org/glm-4.7-flash", SWITCHED),
        ("@cf/google/gemma-4-26b-a4b-it", SWITCHED),
        ("@cf/zai-org/glm-5.2", [NONE, NONE, HIGH, HIGH, HIGH, MAX, MAX]),
        ("@cf/zai-org/glm-5.3", ALWAYS),
        ("@cf/zai-org/glm-5.3-flash", ALWAYS),
        ("@cf/deepseek-ai/deepseek-v4-flash-0731", DEEPSEEK),
        ("@cf/deepseek-ai/deepseek-v4-pro-0813", DEEPSEEK),
        ("@cf/qwen/qwen3.8-27b", [OFF, LOW, LOW, MEDIUM, XHIGH, XHIGH, XHIGH]),
        ("@cf/nvidia/nemotron-3-120b-a12b", [OFF, LITTLE, LITTLE] + [UNHEARD] * 4),
        ("@cf/qwen/qwen3-30b-a3b-fp8", [Thinking(suffix="/no_think")] + [UNHEARD] * 6),
        ("@cf/qwen/qwq-32b", [UNHEARD] * 7),
        ("@cf/ibm-granite/granite-4.0-h-micro", [AS_IS] + [UNHEARD] * 6),
        ("@cf/new/unknown-model", [effort(level) for level in LEVELS]),
    ],
)
def test_an_effort_is_put_in_the_terms_of_the_model(model: str, expected: list[Thinking]) -> None:
    assert [to_thinking(level, CATALOG.resolve(model)) for level in LEVELS] == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, AS_IS),
        ({"reasoning_effort": "high"}, HIGH),
        ({"reasoning_effort": "none"}, NONE),
        ({"reasoning_effort": None}, NONE),
        ({"reasoning_effort": ""}, Thinking(unheard=("reasoning_effort",))),
        ({"reasoning_effort": "", "thinking": False}, Thinking(NONE.fields, unheard=("reasoning_effort",))),
        ({"reasoning": {"effort": "high"}}, HIGH),
        ({"reasoning": {"effort": "high", "enabled": False}}, HIGH),
        ({"reasoning": {"enabled": False}}, NONE),
        ({"reasoning": {"enabled": True}}, AS_IS),
        ({"reasoning": {"effort": None}}, Thinking(unheard=("reasoning",))),
        ({"reasoning": {"max_tokens": 1000}}, Thinking(unheard=("reasoning",))),
        ({"reasoning": None, "thinking": None, "enable_thinking": None}, AS_IS),
        ({"thinking": {"type": "disabled"}}, NONE),
        ({"thinking": {"type": "enabled", "budget_tokens": 1000}}, AS_IS),
        ({"thinking": {"type": "adaptive"}}, AS_IS),
        ({"thinking": {"type": "other"}}, Thinking(unheard=("thinking",))),
        ({"thinking": False}, NONE),
        ({"enable_thinking": False}, NONE),
        ({"enable_thinking": True}, AS_IS),
        ({"enable_thinking": 0}, Thinking(unheard=("enable_thinking",))),
        ({"reasoning_effort": "high", "enable_thinking": False}, Thinking(HIGH.fields, unheard=("enable_thinking",))),
        ({"reasoning": {}, "enable_thinking": False}, Thinking(NONE.fields, unheard=("reasoning",))),
        ({"reasoning_effort": "extreme"}, Thinking(is_honoured=False, unheard=("reasoning_effort",))),
    ],
)
def test_the_wish_may_stand_in_several_fields(fields: dict[str, Any], expected: Thinking) -> None:
    assert thinking_of(a_request(**fields), CATALOG.resolve("@cf/moonshotai/kimi-k2.6")) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, OFF),
        ({"reasoning_effort": "none"}, OFF),
        ({"reasoning_effort": "high"}, Thinking(is_honoured=False, unheard=("reasoning_effort",))),
        ({"enable_thinking": True}, AS_IS),
        ({"thinking": {"type": "other"}}, Thinking(OFF.fields, unheard=("thinking",))),
    ],
)
def test_the_caller_is_heard_before_the_alias(fields: dict[str, Any], expected: Thinking) -> None:
    assert thinking_of(a_request(**fields), CATALOG.resolve("gpt-4o")) == expected


def test_what_nobody_asked_for_is_not_missed() -> None:
    model = Catalog.load({"quiet": {"model": "@cf/openai/gpt-oss-20b", "reasoning_effort": "none"}}).resolve("quiet")
    assert thinking_of(a_request(), model) == effort("low", is_honoured=False)


def test_a_model_that_can_not_think_is_not_turned_on() -> None:
    model = CATALOG.resolve("@cf/ibm-granite/granite-4.0-h-micro")
    assert thinking_of(a_request(enable_thinking=True), model).unheard == ("enable_thinking",)

import pytest

from app.upstream.gateway import Gateway
from app.upstream.providers import is_provider_model, upstream_model

AT_HOST = Gateway("gw", route="host")
REST = Gateway("gw")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai/gpt-4.1", True),
        ("anthropic/claude-sonnet-4-5", True),
        ("google-ai-studio/gemini-2.5-pro", True),
        ("google-vertex-ai/google/gemini-2.5-pro", True),
        ("xai/grok-4", True),
        ("dynamic/route", True),
        ("cloudflare/auto", True),
        ("workers-ai/@cf/x/y", True),
        ("workers-ai/x", False),
        ("cloudflare/other", False),
        ("@cf/openai/gpt-oss-20b", False),
        ("@hf/x/y", False),
        ("meta-llama/llama-3", False),
        ("openai", False),
        ("gpt-4o", False),
        ("", False),
    ],
)
def test_models_of_other_providers_are_known_by_their_prefix(name: str, expected: bool) -> None:
    assert is_provider_model(name) is expected


@pytest.mark.parametrize(
    ("name", "gateway", "expected"),
    [
        ("workers-ai/@cf/x/y", AT_HOST, "workers-ai/@cf/x/y"),
        ("workers-ai/@cf/x/y", REST, "@cf/x/y"),
        ("workers-ai/@cf/x/y", None, "@cf/x/y"),
        ("openai/gpt-4.1", REST, "openai/gpt-4.1"),
        ("@cf/x/y", REST, "@cf/x/y"),
    ],
)
def test_only_the_gateway_host_reads_workers_ai_before_a_model(
    name: str, gateway: Gateway | None, expected: str
) -> None:
    assert upstream_model(name, gateway) == expected

"""How long an answer may be: what the caller wants, as far as the model and its context window have room."""

from app.translators.base import Context

MARGIN = 64
"""Tokens left free between an estimated prompt, its answer and the end of the context window."""

LEAST_ROOM = 1024
"""Tokens that an estimate alone takes from no answer: if they don't fit, Cloudflare tells how many do."""


def max_tokens(context: Context, asked: int | None, prompt_tokens: int) -> int:
    """Tokens; always sent, since without them Cloudflare cuts an answer at 256. `prompt_tokens` is an estimate."""
    model = context.model
    tokens = asked or context.default_max_tokens or model.default_max_tokens
    if model.max_output_tokens:
        tokens = min(tokens, model.max_output_tokens)
    if model.context_window:
        tokens = min(tokens, max(model.context_window - prompt_tokens - MARGIN, LEAST_ROOM))
    return tokens

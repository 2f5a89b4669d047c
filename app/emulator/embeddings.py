"""The task text embeddings: what the models take on ai/run and on OpenAI's path, and the vectors they answer with.

Source: Cloudflare's published model schemas and types; over-long texts and batches as users met them.
"""

from itertools import chain
from typing import Any, NamedTuple

from app.catalog import Model
from app.emulator.checks import Check, field_problem, missing
from app.emulator.faults import Fault, bad_input, refused_by_backend
from app.emulator.meters import Meters
from app.emulator.replies import Reply
from app.emulator.rerank import pairs_of, scores
from app.emulator.results import charged_reply, fail_as_wanted
from app.emulator.run import Run
from app.emulator.text_fields import contexts_at, texts_at
from app.emulator.tokens import count, pieces
from app.emulator.vectors import Vector, normalised, vector

DIMENSIONS = 1024
"""Of a model that the catalogue doesn't know."""
DIGITS = 8
POOLINGS = ("mean", "cls")
FIELDS = {"instruction": Check("string"), "truncate_inputs": Check("boolean")}
INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
"""What Qwen's models read before a query unless told otherwise."""
INSTRUCTION_WEIGHT = 0.3
VLLM = "@cf/qwen/"
"""Models behind vLLM, which refuses a text that is too long; the others cut it."""


class Texts(NamedTuple):
    """What a run wants vectors of."""

    documents: list[str]
    queries: list[str]
    instruction: str = ""

    @property
    def tokens(self) -> int:
        return sum(map(count, self.documents + self.queries)) + len(self.queries) * count(self.instruction)


def run_embeddings(run: Run, meters: Meters) -> Reply:
    if _has_contexts(run) and "query" in run.body:
        return _run_scores(run, meters)
    texts = _fitted(run, _openai_texts(run) if run.is_openai else _native_texts(run))
    fail_as_wanted(run)
    result = _openai_list(run, texts) if run.is_openai else _native_result(run, texts)
    if "no-usage" not in run.quirks:
        result["usage"] = {"prompt_tokens": texts.tokens, "total_tokens": texts.tokens}
    return charged_reply(run, meters, result, texts.tokens)


def _run_scores(run: Run, meters: Meters) -> Reply:
    pairs = pairs_of(run)
    _check_call(run.model, pairs.tokens)
    fail_as_wanted(run)
    return charged_reply(run, meters, {"response": scores(run, pairs)}, pairs.tokens)


def _has_contexts(run: Run) -> bool:
    return run.model.quirks.scores_contexts and not run.is_openai and "contexts" in run.body


def _native_texts(run: Run) -> Texts:
    body, model = run.body, run.model
    if problem := field_problem(body, FIELDS):
        raise bad_input(problem)
    if _takes_pooling(model) and _pooling(run) not in POOLINGS:
        raise bad_input("'/pooling' must be one of 'mean', 'cls'")
    if _has_contexts(run):
        return Texts(contexts_at(body, model.max_batch), [])
    found = {name: texts_at(body, name, model.max_batch) for name in _text_fields(model)}
    if not any(found.values()):
        raise _no_text(model)
    queries = found.pop(model.quirks.query_field or "", [])
    return Texts(list(chain(*found.values())), queries, body.get("instruction", INSTRUCTION))


def _text_fields(model: Model) -> list[str]:
    quirks = model.quirks
    return [quirks.query_field, quirks.document_field, "text"] if quirks.query_field else ["text"]


def _no_text(model: Model) -> Fault:
    alternatives = ["contexts"] * model.quirks.scores_contexts + ["requests"] * ("async-queue" in model.capabilities)
    problems = [missing("/", name) for name in [*_text_fields(model), *alternatives]]
    return bad_input(f"oneOf at '/' not met, 0 matches: {', '.join(problems)}" if problems[1:] else problems[0])


def _openai_texts(run: Run) -> Texts:
    if "input" not in run.body:
        raise bad_input(missing("/", "input"))
    if run.body.get("encoding_format") not in (None, "float") and "floats-for-base64" not in run.quirks:
        raise bad_input("'/encoding_format' must be one of 'float'")
    return Texts(texts_at(run.body, "input", run.model.max_batch), [])


def _fitted(run: Run, texts: Texts) -> Texts:
    """The texts, cut to what the model reads, or 3030 or 8007 where it refuses longer ones."""
    limit = run.model.max_input_tokens
    if limit is not None:
        longest = max(map(count, texts.documents + texts.queries))
        if longest > limit and run.model.id.startswith(VLLM):
            raise refused_by_backend(
                f"This model's maximum context length is {limit} tokens. However, you requested {longest} tokens in "
                "the input for embedding generation. Please reduce the length of the input."
            )
        if longest > limit and run.model.quirks.max_call_tokens and run.body.get("truncate_inputs") is not True:
            raise _too_long(longest, limit)
        texts = texts._replace(documents=["".join(pieces(text)[:limit]) for text in texts.documents])
    _check_call(run.model, texts.tokens)
    return texts


def _check_call(model: Model, tokens: int) -> None:
    most = model.quirks.max_call_tokens
    if most is not None and tokens > most:
        raise _too_long(tokens, most)


def _too_long(tokens: int, most: int) -> Fault:
    return Fault(3030, f"Max context reached {tokens} tokens but model supports only {most}")


def _native_result(run: Run, texts: Texts) -> dict[str, Any]:
    vectors = _vectors(run, texts)
    result = {"shape": [len(vectors), len(vectors[0])], "response" if _has_contexts(run) else "data": vectors}
    if _takes_pooling(run.model) or run.model.quirks.scores_contexts:
        result["pooling"] = _pooling(run)
    return result


def _openai_list(run: Run, texts: Texts) -> dict[str, Any]:
    data = [
        {"object": "embedding", "index": number, "embedding": values}
        for number, values in enumerate(_vectors(run, texts))
    ]
    return {"object": "list", "data": data, "model": run.model.id}


def _takes_pooling(model: Model) -> bool:
    return model.quirks.pooling is not None


def _pooling(run: Run) -> Any:
    """Source: Cloudflare's docs: `mean` unless told otherwise; only some models can be told."""
    if not _takes_pooling(run.model):
        return "cls"
    return "mean" if run.is_openai else run.body.get("pooling", "mean")


def _vectors(run: Run, texts: Texts) -> list[Vector]:
    """The queries first. Every model has a space of its own, and for each way of pooling another."""
    dimensions, space = run.model.embedding_dimensions or DIMENSIONS, f"{run.model.id} {_pooling(run)}"
    instruction = vector(texts.instruction, dimensions, space)
    queries = [_instructed(vector(text, dimensions, space), instruction) for text in texts.queries]
    documents = [vector(text, dimensions, space) for text in texts.documents]
    return [[round(value, DIGITS) for value in values] for values in queries + documents]


def _instructed(values: Vector, instruction: Vector) -> Vector:
    return normalised([value + INSTRUCTION_WEIGHT * of for value, of in zip(values, instruction, strict=True)])

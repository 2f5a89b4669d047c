"""Answers that shall be JSON: what was asked for, and what counts as an answer to that."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calls import Failure, FailureKind
from app.errors import BadRequestError
from app.translators.json_mode import Wanted, bare, enveloped, instruction, to_json, to_wanted

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
LIST = {"type": "array", "items": {"type": "integer"}}


def envelope(**fields: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": fields}


@pytest.mark.parametrize(
    ("response_format", "expected"),
    [
        (None, None),
        ({}, None),
        ("", None),
        ({"type": "text"}, None),
        ('{"type":"text"}', None),
        ({"type": "json_object"}, Wanted()),
        ({"type": "json_object", "json_schema": None}, Wanted()),
        ({"type": "json_object", "schema": SCHEMA}, Wanted(SCHEMA)),
        ({"type": "json_schema", "schema": SCHEMA}, Wanted(SCHEMA)),
        (envelope(name="person", schema=SCHEMA), Wanted(SCHEMA, "person")),
        (
            envelope(name="person", description="Who", schema=SCHEMA, strict=True),
            Wanted(SCHEMA, "person", "Who", is_strict=True),
        ),
        (envelope(schema=SCHEMA), Wanted(SCHEMA)),
        (envelope(schema=SCHEMA, name=None), Wanted(SCHEMA)),
        (envelope(name="person"), Wanted(name="person")),
        (envelope(name="person", schema=None, description="Who"), Wanted(name="person", description="Who")),
        (envelope(**SCHEMA), Wanted(SCHEMA)),
        (
            envelope(**SCHEMA, title="Person", description="Who"),
            Wanted(SCHEMA | {"title": "Person", "description": "Who"}, "Person", "Who"),
        ),
        (envelope(schema=orjson.dumps(SCHEMA).decode()), Wanted(SCHEMA)),
        ({"type": "json_schema", "json_schema": orjson.dumps({"schema": SCHEMA}).decode()}, Wanted(SCHEMA)),
        (orjson.dumps(envelope(name="person", schema=SCHEMA)).decode(), Wanted(SCHEMA, "person")),
        (envelope(schema={}), Wanted({})),
        (envelope(schema={"$schema": "http://json-schema.org/draft-07/schema#"}), None),
    ],
)
def test_what_a_response_format_asks_for(response_format: Any, expected: Wanted | None) -> None:
    wanted = to_wanted(response_format)
    if expected is None and wanted is not None:
        expected = Wanted({"$schema": "http://json-schema.org/draft-07/schema#"})
    assert wanted == expected


@pytest.mark.parametrize(
    ("response_format", "param"),
    [
        ("json", "response_format"),
        ("[]", "response_format"),
        ({"type": "xml"}, "response_format.type"),
        ({"type": None}, "response_format.type"),
        ({"schema": SCHEMA}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": None}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": []}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": "{"}, "response_format.json_schema"),
        (envelope(schema="{"), "response_format.json_schema.schema"),
        (envelope(schema=[]), "response_format.json_schema.schema"),
        (envelope(schema=True), "response_format.json_schema.schema"),
        (envelope(schema={"type": "person"}), "response_format.json_schema"),
        (envelope(schema={"pattern": "("}), "response_format.json_schema"),
        (envelope(schema={"$ref": "#/$defs/missing"}), "response_format.json_schema"),
        (envelope(schema={"$ref": "https://example.com/schema"}), "response_format.json_schema"),
        (envelope(schema={"$ref": "file:///etc/passwd"}), "response_format.json_schema"),
        (envelope(schema={"$schema": "https://example.com/meta"}), "response_format.json_schema"),
    ],
)
def test_a_response_format_that_makes_no_sense_is_refused(response_format: Any, param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        to_wanted(response_format)
    assert (caught.value.param, caught.value.code) == (param, "invalid_value")


def test_native_models_take_the_bare_schema() -> None:
    assert bare(Wanted()) == {"type": "json_object"}
    assert bare(Wanted(SCHEMA)) == {"type": "json_schema", "json_schema": {"title": "answer"} | SCHEMA}
    assert bare(Wanted(SCHEMA | {"title": "A"}, "person", "Who", is_strict=True)) == {
        "type": "json_schema",
        "json_schema": {"title": "A", "description": "Who"} | SCHEMA,
    }


def test_chat_models_take_the_envelope() -> None:
    assert enveloped(Wanted()) == {"type": "json_object"}
    assert enveloped(Wanted(SCHEMA)) == envelope(name="answer", schema=SCHEMA)
    assert enveloped(Wanted(SCHEMA, "person", "Who", is_strict=False)) == envelope(
        name="person", schema=SCHEMA, description="Who", strict=False
    )


def test_other_models_are_told_in_words() -> None:
    assert instruction(Wanted()) == ("Answer with one JSON object and nothing else: no prose around it, no code fence.")
    assert instruction(Wanted({"type": "object"})) == (
        "Answer with one JSON object and nothing else: no prose around it, no code fence. "
        'It must satisfy this JSON Schema:\n{"type":"object"}'
    )
    with pytest.raises(BadRequestError):
        instruction(Wanted({"maximum": 2**70}))


@pytest.mark.parametrize(
    ("text", "schema", "expected"),
    [
        ('{"age": 36}', None, '{"age":36}'),
        (' \n{"age":36}\u00a0\n', SCHEMA, '{"age":36}'),
        ('```json\n{"age": 36}\n```', SCHEMA, '{"age":36}'),
        ('```\n{"age": 36}```', SCHEMA, '{"age":36}'),
        ('Here you are:\n```json\n{"age": 36}\n```\nAnything else?', SCHEMA, '{"age":36}'),
        ('Here you are: {"age": 36}', SCHEMA, '{"age":36}'),
        ('{"age": 36}\nAnything else?', SCHEMA, '{"age":36}'),
        ('I know [1] that {"age": 36} is right', None, '{"age":36}'),
        ('{"code": "```python\\nprint()\\n```"}', None, '{"code":"```python\\nprint()\\n```"}'),
        ('{"code": "```json\\n{}\\n```"}', None, '{"code":"```json\\n{}\\n```"}'),
        ('```\nno JSON\n```\n```json\n{"age": 36}\n```', SCHEMA, '{"age":36}'),
        ('```json\n{"age": "x"}\n```\nor rather\n```json\n{"age": 36}\n```', SCHEMA, '{"age":36}'),
        ("[1, 2]", LIST, "[1,2]"),
        ("The numbers are [1, 2].", LIST, "[1,2]"),
        ("null", {"type": "null"}, "null"),
        ("36", {}, "36"),
        ('{"age": 1.50}', {}, '{"age":1.5}'),
        ('{"a":"JSON Mode couldn\'t be met"}', None, '{"a":"JSON Mode couldn\'t be met"}'),
    ],
)
def test_the_json_in_an_answer_is_found(text: str, schema: Any, expected: str) -> None:
    assert to_json(text, Wanted(schema)) == expected


@pytest.mark.parametrize(
    ("text", "schema", "problem"),
    [
        ("", None, "valid JSON"),
        ("JSON Mode couldn't be met", SCHEMA, "valid JSON"),
        ('{"age": 36', SCHEMA, "valid JSON"),
        ("{'age': 36}", SCHEMA, "valid JSON"),
        ("}{", None, "valid JSON"),
        ("36", None, "JSON object"),
        ("[1]", None, "JSON object"),
        ("null", None, "JSON object"),
        ('{"age": "old"}', SCHEMA, 'does not satisfy the schema: "old" is not of type "integer"'),
        ("{}", SCHEMA, 'does not satisfy the schema: "age" is a required property'),
    ],
)
def test_an_answer_without_the_wanted_json_is_a_failure(text: str, schema: Any, problem: str) -> None:
    with pytest.raises(Failure, match=problem) as caught:
        to_json(text, Wanted(schema))
    assert (caught.value.kind, caught.value.status) == (FailureKind.JSON_MODE, 502)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=9,
)


@given(st.dictionaries(WORDS, JSON, max_size=3), st.sampled_from(["", "```json\n"]))
def test_any_object_comes_out_as_it_was(value: dict[str, Any], fence: str) -> None:
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    if "```" not in text:
        text = fence + text + fence[:3]
    assert orjson.loads(to_json(text, Wanted())) == value


@given(st.text(st.sampled_from('{}[]`",:1ajson \n')))
def test_no_text_breaks_the_search_for_json(text: str) -> None:
    try:
        found = to_json(text, Wanted())
    except Failure:
        found = "{}"
    assert isinstance(orjson.loads(found), dict)

"""Bodies of embedding requests: what is taken, and which item a refusal names."""

from typing import Any

import orjson
import pytest
from pydantic.json_schema import models_json_schema

from app.errors import BadRequestError
from app.routes.bodies import validated
from app.schemas.embeddings import EmbeddingRequest


def read(**fields: Any) -> EmbeddingRequest:
    return validated(EmbeddingRequest, orjson.dumps({"model": "m"} | fields))


@pytest.mark.parametrize(
    "given",
    [
        "ping",
        ["alpha"],
        ["alpha", "", "βήτα 🦊"],
        ["x"] * 2048,
        [9906, 1917],
        list(range(8191)),  # one text: the limit is on texts
        [[9906, 1917], [0]],
        [[1], []],
        [[0]] * 2048,
        None,
    ],
)
def test_every_form_of_input_is_taken_as_it_is(given: Any) -> None:
    assert read(input=given).input == given


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ("", "input"),
        ([], "input"),
        (5, "input"),
        ({"text": "a"}, "input"),
        (["x"] * 2049, "input"),
        ([[0]] * 2049, "input"),
        (["a", 1], "input[1]"),
        (["a", "b", None], "input[2]"),
        (["a", ["b"]], "input[1]"),
        ([None], "input[0]"),
        ([1, "a"], "input[1]"),
        ([1, "2"], "input[1]"),
        ([1, [2]], "input[1]"),
        ([True], "input[0]"),
        ([1, 2.5], "input[1]"),
        ([3, -1], "input[1]"),
        ([[1], "a"], "input[1]"),
        ([[1], [2, "a"]], "input[1][1]"),
    ],
)
def test_input_of_another_kind_is_refused_and_the_item_named(given: Any, param: str) -> None:
    with pytest.raises(BadRequestError) as failure:
        read(input=given)
    assert (failure.value.param, failure.value.code) == (param, "invalid_value")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 1.5}, "dimensions"),
        ({"input_type": "clustering"}, "input_type"),
        ({"pooling": "max"}, "pooling"),
        ({"instruction": ""}, "instruction"),
        ({"stream": True}, "stream"),
        ({"query": ""}, "query"),
        ({"contexts": []}, "contexts"),
        ({"contexts": ["a", 1]}, "contexts[1]"),
        ({"contexts": [{"text": 1}]}, "contexts[0].text"),
        ({"contexts": ["a"] * 2049}, "contexts"),
        ({"model": ""}, "model"),
    ],
)
def test_a_wrong_option_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as failure:
        read(**{"input": "a"} | fields)
    assert (failure.value.param, failure.value.code) == (param, "invalid_value")


def test_null_counts_as_left_out() -> None:
    names = (
        "encoding_format",
        "dimensions",
        "stream",
        "input_type",
        "instruction",
        "pooling",
        "query",
        "contexts",
        "user",
    )
    request = read(input="a", **dict.fromkeys(names))
    assert {getattr(request, name) for name in names} == {None}


def test_whole_floats_count_as_integers_and_unknown_fields_are_kept() -> None:
    request = read(input="a", dimensions=256.0, stream=False, user="u-1")
    assert (request.dimensions, request.stream, request.model_extra) == (256, False, {"user": "u-1"})


@pytest.mark.parametrize(
    ("input_type", "is_query"),
    [
        (None, False),
        ("query", True),
        ("search_query", True),
        ("document", False),
        ("search_document", False),
        ("passage", False),
    ],
)
def test_what_a_text_is_can_be_told_in_several_vocabularies(input_type: str | None, is_query: bool) -> None:
    assert read(input="a", input_type=input_type).is_query == is_query


def test_the_reference_shows_each_form_of_input() -> None:
    _, definitions = models_json_schema([(EmbeddingRequest, "validation")])
    one_of = definitions["$defs"]["EmbeddingRequest"]["properties"]["input"]["anyOf"][0]["oneOf"]
    items = [form.get("items") for form in one_of]
    integer = {"type": "integer", "minimum": 0}
    assert [form["type"] for form in one_of] == ["string", "array", "array", "array"]
    assert items == [None, {"type": "string"}, integer, {"type": "array", "items": integer}]

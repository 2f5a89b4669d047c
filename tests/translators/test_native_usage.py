import pytest

from app.calls import Usage
from app.translators.native_usage import usage_in


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (b'{"result":{"usage":{"prompt_tokens":3,"completion_tokens":2}}}', Usage(3, 2)),
        (b'{"usage":{"input_tokens":3,"output_tokens":2}}', Usage(3, 2)),
        (
            b'{"usage":{"prompt_tokens":3.0,"prompt_tokens_details":{"cached_tokens":1},"neurons":0.5}}',
            Usage(3, 0, 1, neurons=0.5),
        ),
        (b'{"usage":{"prompt_tokens":3,"prompt_tokens_details":7,"neurons":"many"}}', Usage(3)),
        (b'{"result":["usage"],"usage":{}}', None),
        (b'{"result":{"text":"none"}}', None),
        (b'["usage"]', None),
        (b'{"usage"', None),
        (b"\x89PNG", None),
    ],
)
def test_usage_is_found_wherever_it_stands(body: bytes, usage: Usage | None) -> None:
    assert usage_in(body) == usage

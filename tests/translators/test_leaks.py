"""Tool calls that a model wrote into its text: found in every form, left alone where they are none."""

from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.translators.deltas import Text, Thought, ToolCall
from app.translators.leak_scanner import LIMIT
from app.translators.leaks import MAX_MISSES, LeakCatcher

Delta = Text | Thought | ToolCall

TOOLS = ("get_weather", "get-time", "save")
PARIS = '{"city":"Paris"}'


def catch(pieces: Sequence[str], tools: Sequence[str] = TOOLS, *, forced: str | bool | None = None) -> list[Delta]:
    catcher = LeakCatcher(tools, forced=forced)
    deltas = [delta for piece in pieces for delta in catcher.feed(piece)]
    deltas += catcher.close()
    assert all(delta.text for delta in deltas if not isinstance(delta, ToolCall))
    return joined(deltas)


def joined(deltas: list[Delta]) -> list[Delta]:
    """With neighbouring texts, and neighbouring thoughts, made one."""
    out: list[Delta] = []
    for delta in deltas:
        last = out[-1] if out else None
        if isinstance(delta, Text) and isinstance(last, Text):
            out[-1] = Text(last.text + delta.text)
        elif isinstance(delta, Thought) and isinstance(last, Thought):
            out[-1] = Thought(last.text + delta.text)
        else:
            out.append(delta)
    return out


def weather(index: int = 0, arguments: str = PARIS, call_id: str | None = None) -> ToolCall:
    return ToolCall(index, arguments, call_id, "get_weather")


def check(text: str, expected: list[Delta], *, forced: str | bool | None = None) -> None:
    """The text whole, and cut into single characters."""
    assert catch([text], forced=forced) == expected
    assert catch([*text], forced=forced) == expected


HERMES = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HERMES, [weather()]),
        (f"Let me see.\n{HERMES}", [Text("Let me see.\n"), weather()]),
        (f"\n\n{HERMES}\n{HERMES}\n", [weather(), weather(1)]),
        (f"One {HERMES} two {HERMES}", [Text("One "), weather(), Text("two "), weather(1)]),
        (HERMES.removesuffix("\n</tool_call>"), [weather()]),
        (HERMES.removesuffix("</tool_call>") + HERMES, [weather(), weather(1)]),
        (
            '<tool_call>{"name":"get_weather","arguments":"{\\"city\\": \\"Paris\\"}"}</tool_call>',
            [weather()],
        ),
        ('<tool_call>{"name":"get-time"}</tool_call>', [ToolCall(0, "{}", None, "get-time")]),
        ('<tool_call>{"name":"get-time","arguments":null}</tool_call>', [ToolCall(0, "{}", None, "get-time")]),
        ('<tool_call>{"name":"get-time","arguments":""}</tool_call>', [ToolCall(0, "{}", None, "get-time")]),
        ('<tool_call>{"name":"get_weather","city":"Paris"}</tool_call>', [weather()]),
        (
            '<tool_call>{"name":"get_weather","arguments":{"city":"Paris"}}\n{"name":"get-time"}</tool_call>',
            [weather(), ToolCall(1, "{}", None, "get-time")],
        ),
        (
            '<tool_call>[{"name":"get_weather","arguments":{"city":"Paris"},"id":"c1"}]</tool_call>',
            [weather(call_id="c1")],
        ),
        (
            '<tool_call>{"name":"save","arguments":{"text":"}</tool_call>\\"\\\\"}}</tool_call>',
            [ToolCall(0, '{"text":"}</tool_call>\\"\\\\"}', None, "save")],
        ),
    ],
)
def test_hermes_and_qwen_write_json_in_tags(text: str, expected: list[Delta]) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>",
            [weather()],
        ),
        (
            "I look.\n<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</arg_value></tool_call>",
            [Text("I look.\n"), weather()],
        ),
        ("<tool_call>get-time\n</tool_call>", [ToolCall(0, "{}", None, "get-time")]),
        (
            (
                "<tool_call>save\n"
                "<arg_key>number</arg_key>\n<arg_value>3</arg_value>\n"
                "<arg_key>on</arg_key>\n<arg_value>true</arg_value>\n"
                "<arg_key>none</arg_key>\n<arg_value>null</arg_value>\n"
                '<arg_key>list</arg_key>\n<arg_value>[1, {"a": 2}]</arg_value>\n'
                '<arg_key>quoted</arg_key>\n<arg_value>"a"</arg_value>\n'
                "<arg_key>text</arg_key>\n<arg_value> a <b>\nc\n</arg_value>\n"
                "<arg_key>long</arg_key>\n<arg_value>123456789012345678901234</arg_value>\n"
                "</tool_call>"
            ),
            [
                ToolCall(
                    0,
                    '{"number":3,"on":true,"none":null,"list":[1,{"a":2}],"quoted":"\\"a\\"","text":" a <b>\\nc\\n",'
                    '"long":"123456789012345678901234"}',
                    None,
                    "save",
                )
            ],
        ),
    ],
)
def test_glm_writes_pairs_in_tags(text: str, expected: list[Delta]) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>",
            [weather()],
        ),
        (
            "Now:\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>\n",
            [Text("Now:\n"), weather()],
        ),
        (
            "<function=get_weather><parameter=city>Paris</parameter></function><function=get-time></function> Done.",
            [weather(), ToolCall(1, "{}", None, "get-time"), Text("Done.")],
        ),
        (
            (
                "<function=save>\n<parameter=code>\n  if a < b:\n\n</parameter>\n<parameter=n>\n3\n</parameter>\n"
                "</tool_call>"
            ),
            [ToolCall(0, '{"code":"  if a < b:\\n","n":3}', None, "save")],
        ),
        ('<function=get_weather>{"city": "Paris"}</function>', [weather()]),
    ],
)
def test_qwen_coder_writes_xml_and_llama_json_in_a_function_tag(text: str, expected: list[Delta]) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    "text",
    [
        '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris"}<|call|>',
        '<|channel|>commentary to=functions.get_weather\n<|constrain|>json\n<|message|>{"city": "Paris"}\n<|call|>',
        '<|start|>assistant<|channel|>commentary to=functions.get_weather json<|message|>{"city": "Paris"}<|call|>',
        '<|start|>assistant to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>{"city":"Paris"}',
        '<|channel|>analysis to=functions.get_weather code<|message|>\n{"city": "Paris"}<|call|>',
        '<|channel|>commentary to=get_weather<|message|>{"city": "Paris"}<|end|>',
    ],
)
def test_gpt_oss_addresses_tools_in_harmony(text: str) -> None:
    check(text, [weather()])
    check(f"I look.\n{text}", [Text("I look.\n"), weather()])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<|channel|>analysis<|message|>Simple.<|end|>", [Thought("Simple.")]),
        (
            (
                "<|channel|>analysis<|message|>a < b, <|en<|end|>\n"
                "<|start|>assistant<|channel|>final<|message|>2 + 2 = 4.<|return|>"
            ),
            [Thought("a < b, <|en"), Text("2 + 2 = 4.")],
        ),
        (
            (
                "<|channel|>analysis<|message|>Weather.<|start|>assistant<|channel|>commentary<|message|>I look.<|end|>"
                "<|start|>assistant<|channel|>commentary to=functions.get_weather<|message|>"
                '{"city":"Paris"}<|call|>'
            ),
            [Thought("Weather."), Text("I look."), weather()],
        ),
        ("<|channel|>final <|constrain|>json<|message|>[1]", [Text("[1]")]),
        ("<|channel|>final<|message|>", []),
        ("<|channel|>final<|message|>cut <|retu", [Text("cut <|retu")]),
    ],
)
def test_gpt_oss_writes_its_channels_at_the_head_of_an_answer(text: str, expected: list[Delta]) -> None:
    check(text, expected)


def test_a_harmony_message_is_passed_on_while_it_comes() -> None:
    catcher = LeakCatcher(TOOLS)
    pieces = ["<|channel|>", "final", "<|message|>", "One ", "two <", "b> <", "|end|>", "<|start|>assis", "t"]
    assert [catcher.feed(piece) for piece in pieces] == [
        [],
        [],
        [],
        [Text("One ")],
        [Text("two ")],
        [Text("<b> ")],
        [],
        [],
        [],
    ]
    assert catcher.close() == [Text("<|start|>assist")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            (
                "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
                '{"city": "Paris"}<|tool_call_end|><|tool_calls_section_end|>'
            ),
            [weather(call_id="functions.get_weather:0")],
        ),
        (
            (
                "I look. <|tool_calls_section_begin|>\n<|tool_call_begin|> functions.get_weather:0 "
                '<|tool_call_argument_begin|> {"city": "Paris"} <|tool_call_end|>\n<|tool_call_begin|>get-time:1'
                "<|tool_call_argument_begin|><|tool_call_end|>\n<|tool_calls_section_end|>\n"
            ),
            [
                Text("I look. "),
                weather(call_id="functions.get_weather:0"),
                ToolCall(1, "{}", "get-time:1", "get-time"),
            ],
        ),
        ('<|tool_call_begin|>get_weather<|tool_call_argument_begin|>{"city":"Paris"}', [weather()]),
    ],
)
def test_kimi_writes_sections_of_calls_with_ids(text: str, expected: list[Delta]) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}}]', [weather()]),
        (
            (
                '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris"}, "id": "a1b2c3d4e"}, '
                '{"name": "get-time", "arguments": {}}]'
            ),
            [weather(call_id="a1b2c3d4e"), ToolCall(1, "{}", None, "get-time")],
        ),
        ('[TOOL_CALLS]{"name": "get_weather", "arguments": {"city": "Paris"}}', [weather()]),
        ('[TOOL_CALLS]get_weather{"city": "Paris"}', [weather()]),
        (
            'I look.[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}[TOOL_CALLS]get-time[ARGS]{}',
            [Text("I look."), weather(), ToolCall(1, "{}", None, "get-time")],
        ),
        ('[TOOL_CALLS]get_weather[CALL_ID]a1b2c3d4e[ARGS]{"city": "Paris"}', [weather(call_id="a1b2c3d4e")]),
    ],
)
def test_mistral_writes_a_mark_before_its_calls(text: str, expected: list[Delta]) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "get_weather", "parameters": {"city": "Paris"}}',
        ' \n{"name": "get_weather", "arguments": {"city": "Paris"}}\n',
        '{"type": "function", "name": "get_weather", "parameters": {"city": "Paris"}}',
        '{"name": "get_weather", "type": "function", "parameters": {"city": "Paris"}}',
        '{"type": "function", "function": {"name": "get_weather", "parameters": {"city": "Paris"}}}',
        '{"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}',
        '{"function": "get_weather", "parameters": {"city": "Paris"}}',
        '{"parameters": {"city": "Paris"}, "name": "get_weather"}',
        '{"tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}]}',
        '{"tool_calls": [{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}]}',
        '{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}',
        '[ {"name": "get_weather", "parameters": {"city": "Paris"}} ]',
        '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris"}}',
        '```json\n{"name": "get_weather", "parameters": {"city": "Paris"}}\n```\n',
        '```\n{"name": "get_weather", "parameters": {"city": "Paris"}}```',
        '```json\n{"name": "get_weather", "parameters": {"city": "Paris"}}',
        '{"type": "function", "name": "get_weather", "city": "Paris"}',
    ],
)
def test_llama_writes_nothing_but_json(text: str) -> None:
    check(text, [weather()])


def test_llama_writes_several_calls_one_after_another() -> None:
    one = '{"name": "get_weather", "parameters": {"city": "Paris"}}'
    two = '{"name": "get-time", "parameters": {}}'
    expected: list[Delta] = [weather(), ToolCall(1, "{}", None, "get-time")]
    check(f"{one}; {two}", expected)
    check(f"<|python_tag|>{one}\n{two}", expected)
    check(f"[{one}, {two}]", expected)


def test_an_id_in_the_json_is_kept() -> None:
    check(
        '{"tool_calls":[{"id":"call_7","type":"function","function":{"name":"get_weather","arguments":{"city":"Paris"}}}]}',
        [weather(call_id="call_7")],
    )


@pytest.mark.parametrize(
    ("text", "forced", "expected"),
    [
        ('{"name": "get_weather", "city": "Paris"}', True, [weather()]),
        ('{"city": "Paris", "name": "get_weather"}', True, [weather()]),
        ('{"type": "function", "function": {"name": "get_weather", "city": "Paris"}}', True, [weather()]),
        ('{"name": "save", "id": 7}', True, [ToolCall(0, '{"id":7}', None, "save")]),
        (
            '[{"name": "get_weather", "city": "Paris"}, {"name": "get-time"}]',
            True,
            [weather(), ToolCall(1, "{}", None, "get-time")],
        ),
        ('{"name": "get-time"}', True, [ToolCall(0, "{}", None, "get-time")]),
        ('{"name": "save", "description": "x"}', True, [ToolCall(0, '{"description":"x"}', None, "save")]),
        ('{"name": "get_weather", "city": "Paris"}', "save", [weather()]),
        ('{"city": "Paris"}', "get_weather", [weather()]),
        ('```json\n{"city": "Paris"}\n```', "get_weather", [weather()]),
        ("{}", "get-time", [ToolCall(0, "{}", None, "get-time")]),
        ('{"name": "Ann"}', "save", [ToolCall(0, '{"name":"Ann"}', None, "save")]),
        ('{"name": ["Ann"]}', "save", [ToolCall(0, '{"name":["Ann"]}', None, "save")]),
    ],
)
def test_a_forced_call_is_taken_in_looser_forms(text: str, forced: str | bool, expected: list[Delta]) -> None:
    check(text, expected, forced=forced)


@pytest.mark.parametrize(
    ("text", "forced"),
    [
        ('{"city": "Paris"}', True),
        ('{"city": "Paris"}', "not_offered"),
        ('{"name": "analysis", "text": "Hm."}', "save"),
        ('{"name": "other", "arguments": {}}', "save"),
        ('{"tool_calls": []}', "save"),
        ('[{"city": "Paris"}]', "get_weather"),
        ('{"city": "Paris"} {"city": "Rome"}', "get_weather"),
        ('{"city": "Paris"} is what I would send.', "get_weather"),
        ('{"city": "Paris"', "get_weather"),
        ("[]", "get_weather"),
        ("I can't do that.", "get_weather"),
    ],
)
def test_a_forced_call_is_not_made_of_anything_else(text: str, forced: str | bool) -> None:
    check(text, [Text(text)], forced=forced)


NEAR_MISSES = [
    # not offered
    HERMES.replace("get_weather", "other"),
    "<tool_call>other\n<arg_key>a</arg_key>\n<arg_value>b</arg_value>\n</tool_call>",
    "<function=other><parameter=a>b</parameter></function>",
    '<|channel|>commentary to=functions.other <|constrain|>json<|message|>{"a": 1}<|call|>',
    '<|tool_call_begin|>functions.other:0<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|>',
    '[TOOL_CALLS][{"name": "other", "arguments": {}}]',
    '[TOOL_CALLS][{"name": "get_weather", "arguments": {}}, {"name": "other", "arguments": {}}]',
    '[TOOL_CALLS]other[ARGS]{"a": 1}',
    '{"name": "other", "parameters": {}}',
    '{"name": "get_weather", "parameters": {}}; {"name": "other", "parameters": {}}',
    # broken
    '<tool_call>{"name": "get_weather", "arguments": {"city": }}</tool_call>',
    '<tool_call>{"name": "get_weather", "arguments": {"city": "Par',
    '<tool_call>{"name": "get_weather", "arguments": {"city": "Par\\',
    '<tool_call>{"name": "get_weather", "arguments": ["Paris"]}</tool_call>',
    '<tool_call>{"name": "get_weather", "arguments": "Paris"}</tool_call>',
    '<tool_call>{"name": "get_weather", "arguments": {}}}</tool_call>',
    '<tool_call>{"name": "get_weather", "arguments": {}} {"name": 7}</tool_call>',
    '<tool_call>{"name": 7, "arguments": {}}</tool_call>',
    "<tool_call>{'name': 'get_weather'}</tool_call>",
    '<tool_call>[["get_weather"]]</tool_call>',
    '<tool_call>{"tool_calls": "get_weather"}</tool_call>',
    '{"name": "get_weather", "parameters": ' + '{"a":' * 300 + "1" + "}" * 301,
    "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</tool_call>",
    "<tool_call>get_weather\n<arg_key>city</arg_key>\nParis</arg_value></tool_call>",
    f"<tool_call>get_weather\n<arg_key>{'city' * 60}</arg_key>\n<arg_value>Paris</arg_value></tool_call>",
    "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n",
    "<tool_call>get_weather",
    "<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n",
    "<function=get_weather>\n<parameter=city>\nParis\n</function>",
    "<function=get_weather",
    '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"',
    "[TOOL_CALLS]get_weather is what I call.",
    "[TOOL_CALLS]",
    "<|tool_calls_section_begin|> is how Kimi begins.",
    "<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>",
    '<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{"city": "Par',
    '<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{"city": "Paris"} and so on',
    "<|tool_call_begin|>" + "x" * 300,
    "<|channel|>commentary to=functions.get_weather<|message|>Paris<|call|>",
    "<|channel|>commentary to=functions.get_weather<|message|>",
    "<|channel|>elsewhere<|message|>Hm.<|end|>",
    "<|channel|>" + "x" * 300 + "<|message|>",
    "<|start|>assistant",
    # prose about the forms
    "Qwen writes `<tool_call>` before a call and </tool_call> after it.",
    "gpt-oss writes <|channel|>analysis<|message|>Hm.<|end|> first, <|channel|>final<|message|>Hi.<|return|> last.",
    "Mistral's mark is [TOOL_CALLS], see [The docs](x) and [T] and [.",
    "a <b <t> <to> <f> <fun> <|> <| [ [T < and the end is <",
    "<|python_tag|>print(1)",
    # ordinary JSON
    '{"name": "Ann", "age": 3}',
    '{"name": "get_weather"}',
    '{"name": "get_weather", "age": 3}',
    '{"name"',
    '{"name": ["get_weather"], "parameters": {}}',
    '{"type": "circle", "name": "get_weather", "parameters": {}}',
    '{"type": "function", "text": "f(x)"}',
    '{"function": "sin", "parameters": {}}',
    '{"function": {"label": "get_weather"}}',
    '{"arguments": {"city": "Paris"}}',
    '{"tool_calls": []}',
    '{"tool_calls": null}',
    "{}",
    "[]",
    "[1, 2]",
    "{",
    "```json\n[1]\n```",
    "```python\nprint(1)\n```",
    # a call, but not the whole reply
    '{"name": "get_weather", "parameters": {"city": "Paris"}} is what I would call.',
    '{"name": "get_weather", "parameters": {"city": "Paris"}}; {"name": "get_weather", "para',
    'I call {"name": "get_weather", "parameters": {"city": "Paris"}}',
    # the definition of a tool
    '{"name": "get_weather", "description": "The weather.", "parameters": {"type": "object", "properties": {}}}',
    '{"type": "function", "function": {"name": "get_weather", "description": "The weather."}}',
    # nothing to it
    " \n ",
    "\n Hello\n",
]


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_a_near_miss_stays_text(text: str) -> None:
    check(text, [Text(text)])
    check(f"\n{text}", [Text(f"\n{text}")])


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_a_call_after_a_near_miss_is_still_found(text: str) -> None:
    assert catch([f"Well: {text}\n{HERMES}"]) == [Text(f"Well: {text}\n"), weather()]


def test_without_tools_nothing_is_touched() -> None:
    catcher = LeakCatcher([])
    text = f"<|channel|>final<|message|>{HERMES}"
    assert [*catcher.feed(text), *catcher.feed(""), *catcher.close()] == [Text(text)]


def test_text_comes_out_at_once_and_ordinary_json_after_its_first_key() -> None:
    catcher = LeakCatcher(TOOLS)
    pieces = ["\n", '{"na', 'me": "A', 'nn", "list": ', "[1, ", "2] <", "b> ", "<tool", "s>"]
    assert ["".join(delta.text for delta in catcher.feed(piece) if isinstance(delta, Text)) for piece in pieces] == [
        "",
        "",
        "",
        '\n{"name": "Ann", "list": ',
        "[1, ",
        "2] ",
        "<b> ",
        "",
        "<tools>",
    ]
    assert catcher.feed("") == []
    assert catcher.close() == []


def test_a_call_comes_out_as_soon_as_it_is_whole() -> None:
    catcher = LeakCatcher(TOOLS)
    assert catcher.feed(f"I look. {HERMES[:-1]}") == [Text("I look. ")]
    assert catcher.feed(">") == [weather()]
    assert catcher.feed("\n") == []
    assert catcher.feed("Done.") == [Text("Done.")]


def test_no_more_than_the_limit_is_held() -> None:
    catcher = LeakCatcher(TOOLS)
    opening = '<tool_call>{"name": "save", "arguments": {"text": "'
    piece = "x" * 1000
    held = 0
    deltas = catcher.feed(opening)
    while not deltas:
        held += len(piece)
        deltas = catcher.feed(piece)
    assert LIMIT - 2000 < held < LIMIT + 2000
    assert joined(deltas) == [Text(opening + "x" * held)]
    assert catcher.feed(" and on") == [Text(" and on")]


def test_what_is_longer_than_the_limit_is_text_however_it_is_cut() -> None:
    text = '<tool_call>{"name": "save", "arguments": {"text": "%s"}}</tool_call>'
    within, beyond = text % ("x" * (LIMIT - 100)), text % ("x" * LIMIT)
    assert [type(delta) for delta in catch([within])] == [ToolCall]
    assert catch([beyond]) == [Text(beyond)]
    assert catch([beyond[:9], beyond[9:]]) == [Text(beyond)]
    assert catch([f"{beyond} <tool_call> {HERMES}"]) == [Text(f"{beyond} <tool_call> "), weather()]


def test_after_many_near_misses_no_more_calls_are_looked_for() -> None:
    few, many = "<tool_call> and " * (MAX_MISSES - 1), "<tool_call> and " * MAX_MISSES
    check(few + HERMES, [Text(few), weather()])
    check(many + HERMES, [Text(many + HERMES)])


TEXT_PARTS = st.sampled_from(
    [
        HERMES,
        *("<tool_call>", "</tool_call>", "<function=", "get_weather", ">", "<parameter=city>", "</parameter>"),
        *("</function>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "[TOOL_CALLS]", "[ARGS]"),
        *("<|channel|>", "<|start|>assistant", "final", "analysis", "commentary to=functions.get_weather"),
        *("<|message|>", "<|end|>", "<|call|>", "<|tool_calls_section_begin|>", "<|tool_call_begin|>"),
        *("functions.get_weather:0", "<|tool_call_argument_begin|>", "<|tool_call_end|>", "<|tool_calls_section_end|>"),
        *('{"name": "get_weather"', '"parameters":', '{"name":', '{"city": "Paris"}', PARIS, "{", "}", "[", "]", ","),
        *("```json", "```", "<|python_tag|>", ";", " ", "\n", '"', "\\", "<", "<|", "x", "é"),
    ]
)


@settings(deadline=None)
@given(st.lists(TEXT_PARTS, max_size=12), st.sampled_from([None, True, "get_weather"]), st.data())
def test_cutting_a_text_differently_changes_nothing(
    parts: list[str], forced: str | bool | None, data: st.DataObject
) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = catch([text], forced=forced)
    assert catch(pieces, forced=forced) == whole
    assert catch([*text], forced=forced) == whole


@settings(deadline=None)
@given(st.lists(TEXT_PARTS, max_size=12))
def test_calls_are_to_offered_tools_with_an_object_for_arguments(parts: list[str]) -> None:
    calls = [delta for delta in catch(["".join(parts)]) if isinstance(delta, ToolCall)]
    assert [call.call_index for call in calls] == list(range(len(calls)))
    for call in calls:
        assert call.name in TOOLS
        assert isinstance(orjson.loads(call.arguments), dict)


@settings(deadline=None)
@given(st.lists(st.text(), max_size=5))
def test_a_text_without_markers_passes_unchanged(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert catch(pieces) == ([Text(text)] if text else [])


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(),
        lambda s: st.lists(s) | st.dictionaries(st.text(), s),
    )
)
def test_json_without_the_keys_of_a_call_passes_unchanged(value: object) -> None:
    text = orjson.dumps(value).decode()
    assert catch([*text]) == [Text(text)]

"""Requests to listen -> calls, and replies -> what was heard."""

import base64
from typing import Any

import pytest

from app.calls import Failure, FailureKind, Reply, Usage
from app.catalog import Model, Price
from app.errors import BadRequestError
from app.translators.transcriptions import from_failure, from_reply, neurons_of, to_call, transcriptions, translations
from app.translators.transcripts import Heard, Hearing
from tests.translators.hearing import (
    FLUX,
    NEMOTRON,
    NOVA,
    TINY,
    TURBO,
    WHISPER,
    a_plan,
    a_sound,
    a_translation,
    golden,
)

AUDIO = base64.b64encode(b"fLaC").decode()
STRANGE = Model("@cf/test/strange", "automatic-speech-recognition", "current", input_shape="audio-bytes")
UNLISTED = Model(
    "@cf/test/ears", "automatic-speech-recognition", input_shape="audio-query", output_shape="transcript-text"
)


def call_of(plan: Any, sound: Any = None, parts: Any = ()) -> Any:
    call = to_call(plan, sound or a_sound(), parts)
    assert call is not None
    return call


def refusal(make: Any, model: Any, **fields: Any) -> tuple[str | None, str | None]:
    with pytest.raises(BadRequestError) as failure:
        make(model, **fields)
    return failure.value.param, failure.value.code


def test_whisper_gets_the_bytes_themselves() -> None:
    call = call_of(a_plan(WHISPER), a_sound(kind="audio/mpeg"))
    assert (call.model, call.path, call.body) == (WHISPER.id, f"run/{WHISPER.id}", {})
    assert (call.content, call.content_type, call.affinity) == (b"fLaC", "audio/mpeg", "near")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"language": "en"}, {"language": "en"}),
        ({"language": "en-US"}, {"language": "en"}),
        ({"language": "German"}, {"language": "de"}),
        ({"languages": ["de"]}, {"language": "de"}),
        ({"languages": ["de", "en"]}, {}),
        ({"language": "en", "languages": ["de"]}, {"language": "en"}),
        ({"prompt": "Hm."}, {"initial_prompt": "Hm."}),
        ({"prompt": "Hm.", "keywords": ["Rita", "Flarelay"]}, {"initial_prompt": "Hm. Glossary: Rita, Flarelay"}),
        ({"keywords": "Rita"}, {"initial_prompt": "Glossary: Rita"}),
        (
            {"vad_filter": "True", "beam_size": "5", "no_speech_threshold": "0.5", "prefix": "So"},
            {"vad_filter": True, "beam_size": 5, "no_speech_threshold": 0.5, "prefix": "So"},
        ),
        ({"vad_filter": False, "beam_size": 5.0}, {"vad_filter": False, "beam_size": 5}),
    ],
)
def test_turbo_gets_base64_and_its_own_fields(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    call = call_of(a_plan(TURBO, **fields))
    assert (call.path, call.body, call.affinity) == (f"run/{TURBO.id}", {"audio": AUDIO} | expected, "near")
    assert (call.content, call.content_type) == (None, "application/json")


@pytest.mark.parametrize(
    ("fields", "query"),
    [
        ({}, "smart_format=true&detect_language=true"),
        ({"language": "en"}, "smart_format=true&language=en"),
        ({"language": "en_gb"}, "smart_format=true&language=en-GB"),
        ({"smart_format": "false", "language": "en"}, "smart_format=false&language=en"),
        ({"detect_language": "0"}, "smart_format=true&detect_language=false"),
        (
            {"language": "en", "keywords": ["Rita", "a b&c"], "keyterm": ["d"]},
            "smart_format=true&language=en&keyterm=Rita&keyterm=a+b%26c&keyterm=d",
        ),
        (
            {"language": "en", "response_format": "diarized_json", "redact": "pci", "utt_split": "0.5"},
            "smart_format=true&language=en&diarize=true&redact=pci&utt_split=0.5",
        ),
    ],
)
def test_deepgram_gets_bytes_and_a_query(fields: dict[str, Any], query: str) -> None:
    call = call_of(a_plan(NOVA, **fields))
    assert (call.path, call.body) == (f"run/{NOVA.id}?{query}", {})
    assert (call.content, call.content_type, call.affinity) == (b"fLaC", "audio/flac", "near")


def test_without_options_there_is_no_query() -> None:
    assert call_of(a_plan(UNLISTED)).path == "run/@cf/test/ears"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("audio/x-wav", {"encoding": "wav"}),
        ("audio/flac", {"encoding": "flac"}),
        ("audio/ogg; codecs=opus", {"encoding": "ogg"}),
        ("audio/mpeg", {}),
    ],
)
def test_a_model_that_wants_to_know_is_told_what_the_bytes_are(kind: str, expected: dict[str, Any]) -> None:
    call = call_of(a_plan(NEMOTRON, sample_rate="16000"), a_sound(kind=kind))
    assert call.body == {"audio": AUDIO, "sample_rate": 16000} | expected


def test_a_translation_asks_for_one() -> None:
    plan = a_translation(TURBO, language="de", prompt="Hm.")
    assert call_of(plan).body == {"audio": AUDIO, "task": "translate", "language": "de", "initial_prompt": "Hm."}
    assert plan.ignored == ()


@pytest.mark.parametrize(
    ("model", "fields", "ignored"),
    [
        (TURBO, {"temperature": "0", "stream": "true", "chunking_strategy": "auto", "language": "en"}, ()),
        (TURBO, {"temperature": "0.4", "include": ["logprobs"]}, ("temperature", "include")),
        (TURBO, {"languages": ["en", "de"], "odd": "1", "keywords": "Rita"}, ("languages", "odd")),
        (TURBO, {"known_speaker_names": ["a"]}, ("known_speaker_names",)),
        (TURBO, {"known_speaker_references": ["data:"], "vad_filter": "1"}, ("known_speaker_references",)),
        (TURBO, {"timestamp_granularities": ["word"], "languages": ["en"], "odd": None}, ()),
        (WHISPER, {"language": "en", "prompt": "Hm.", "keywords": "a"}, ("language", "prompt", "keywords")),
        (WHISPER, {"languages": "en"}, ("languages",)),
        (TINY, {"language": "en"}, ()),
        (TINY, {"language": "auto"}, ()),
        (NOVA, {"prompt": "Hm.", "keywords": "a"}, ("prompt",)),
        (NEMOTRON, {"response_format": "json", "timestamp_granularities": ["word"]}, ()),
    ],
)
def test_what_a_model_can_not_be_told_is_told_to_the_caller(
    model: Model, fields: dict[str, Any], ignored: tuple[str, ...]
) -> None:
    assert a_plan(model, **fields).ignored == ignored


def test_fields_that_a_translation_does_not_have_are_told_whatever_they_are() -> None:
    plan = a_translation(TURBO, languages="en", keywords="abc", stream="true", timestamp_granularities="word")
    assert plan.ignored == ("languages", "keywords", "timestamp_granularities")
    assert call_of(plan).body == {"audio": AUDIO, "task": "translate"}


@pytest.mark.parametrize(
    ("make", "model", "fields", "expected"),
    [
        (a_plan, FLUX, {}, ("model", "unsupported_model")),
        (a_plan, STRANGE, {}, ("model", "unsupported_model")),
        (a_plan, Model("@cf/test/chat", "text-generation"), {}, ("model", "unsupported_model")),
        (a_translation, NOVA, {}, ("model", "unsupported_model")),
        (a_plan, TURBO, {"response_format": "diarized_json"}, ("response_format", "unsupported_value")),
        (a_plan, TURBO, {"language": "gibberish"}, ("language", "invalid_language_format")),
        (a_plan, TURBO, {"languages": ["gibberish"]}, ("languages", "invalid_language_format")),
        (a_plan, TINY, {"language": "de"}, ("language", "unsupported_value")),
        (a_plan, TURBO, {"vad_filter": "perhaps"}, ("vad_filter", "invalid_value")),
        (a_plan, TURBO, {"beam_size": "2.5"}, ("beam_size", "invalid_value")),
        (a_plan, TURBO, {"beam_size": "many"}, ("beam_size", "invalid_value")),
        (a_plan, TURBO, {"no_speech_threshold": "nan"}, ("no_speech_threshold", "invalid_value")),
        (a_plan, TURBO, {"prefix": ["a"]}, ("prefix", "invalid_value")),
        (a_plan, NOVA, {"redact": [1]}, ("redact", "invalid_value")),
        (
            a_plan,
            NEMOTRON,
            {"response_format": "verbose_json", "timestamp_granularities": ["word"]},
            ("timestamp_granularities", "unsupported_value"),
        ),
    ],
)
def test_what_a_model_can_not_do_is_refused(
    make: Any, model: Model, fields: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert refusal(make, model, **fields) == expected


def test_a_refusal_says_how_a_model_listens_instead() -> None:
    with pytest.raises(BadRequestError, match="only over a WebSocket"):
        a_plan(FLUX)
    with pytest.raises(BadRequestError, match="in a form of its own"):
        a_plan(STRANGE)


@pytest.mark.parametrize(
    ("model", "fields", "language"),
    [(TURBO, {}, None), (TURBO, {"language": "english"}, "en"), (TINY, {}, "en"), (WHISPER, {"language": "de"}, "de")],
)
def test_the_language_is_known_beforehand_or_not(model: Model, fields: dict[str, Any], language: str | None) -> None:
    reading: Hearing = a_plan(model, **fields).reading
    assert reading.language == language


def test_silence_needs_no_call_and_costs_nothing() -> None:
    plan, silence = a_plan(TURBO), a_sound(10, 5, is_silent=True)
    assert to_call(plan, silence, ()) is None
    assert from_reply(plan, silence, None) == Heard(10, 15, usage=Usage(neurons=0.0))
    assert from_reply(a_plan(NEMOTRON), silence, None) == Heard(10, 15)


LONG = "word " * 39 + "over the lazy dog"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["Hello there."], "Hello there."),
        (["Hello", "there."], "Hello there."),
        (["Hello there.", ""], "Hello there."),
        ([""], ""),
        (["lost " * 60, LONG], ("word " * 36 + "over the lazy dog")),
        (["あ" * 300], "あ" * 200),
        (["x" * 100 + " " + "y" * 200], "y" * 200),
    ],
)
def test_a_piece_is_told_how_the_text_before_it_ends(texts: list[str], expected: str) -> None:
    parts = [Heard(10.0 * i, 10.0 * (i + 1), text.strip()) for i, text in enumerate(texts)]
    sound = a_sound(10.0 * len(texts))
    assert call_of(a_plan(TURBO), sound, parts).body.get("initial_prompt", "") == expected
    assert call_of(a_plan(TURBO, prompt="Hm."), sound, parts).body["initial_prompt"] == f"Hm. {expected}".strip()


@pytest.mark.parametrize(
    ("fields", "start"),
    [({}, 20), ({"condition_on_previous_text": "false"}, 10)],
)
def test_a_piece_is_not_told_what_is_not_there_or_not_wanted(fields: dict[str, Any], start: float) -> None:
    parts = [Heard(0, 10, "Hello there.")]
    assert "initial_prompt" not in call_of(a_plan(TURBO, **fields), a_sound(start), parts).body


def test_a_model_without_prompts_is_told_nothing() -> None:
    assert call_of(a_plan(NEMOTRON), a_sound(10), [Heard(0, 10, "Hello.")]).body == {"audio": AUDIO, "encoding": "flac"}


@pytest.mark.parametrize(
    ("model", "reply", "neurons"),
    [
        (TURBO, golden("segments"), 46.63 / 2),
        (TURBO, Reply(golden("segments").body, neurons=7.5), 7.5),
        (WHISPER, golden("words"), 41.14 / 2),
        (NEMOTRON, golden("text"), None),
    ],
)
def test_what_was_heard_costs_as_told_or_as_listed(model: Model, reply: Reply, neurons: float | None) -> None:
    usage = from_reply(a_plan(model), a_sound(0, 30), reply).usage
    assert usage.audio_seconds == 30
    assert usage.neurons == (None if neurons is None else pytest.approx(neurons))
    assert not usage.is_estimated


@pytest.mark.parametrize(("told", "expected"), [("en", "en"), ("English", "en"), ("en-US", "en"), ("xx", "xx")])
def test_the_language_that_a_model_tells_becomes_its_code(told: str, expected: str) -> None:
    body = {"text": "Hello.", "transcription_info": {"language": told}}
    assert from_reply(a_plan(TURBO), a_sound(), Reply(body)).language == expected


def test_a_reply_without_a_transcript_is_a_failure() -> None:
    with pytest.raises(Failure) as failure:
        from_reply(a_plan(TURBO), a_sound(), Reply({"result": 1}))
    assert (failure.value.kind, failure.value.status) == (FailureKind.BROKEN, 502)


@pytest.mark.parametrize(
    ("model", "code", "expected"),
    [
        (NOVA, 3030, Heard(2, 5, usage=Usage(neurons=0.0))),
        (NOVA, 3040, None),
        (NOVA, None, None),
        (TURBO, 3030, None),
        (TURBO, None, None),
    ],
)
def test_a_failure_may_mean_silence(model: Model, code: int | None, expected: Heard | None) -> None:
    failure = Failure(FailureKind.BAD_REQUEST, "corrupt or unsupported data", code=code)
    assert from_failure(a_plan(model), a_sound(2, 3), failure) == expected


def test_only_minutes_have_a_price() -> None:
    assert neurons_of(90, (Price("audio_minute", 10),)) == 15
    assert neurons_of(90, (Price("audio_minute_websocket", 10),)) is None


def test_both_endpoints_take_the_models_that_hear() -> None:
    assert transcriptions.tasks == translations.tasks == {TURBO.task}
    assert (transcriptions.endpoint, translations.endpoint) == ("/v1/audio/transcriptions", "/v1/audio/translations")

"""Speech in every format, at every tempo, in parts; and back."""

import itertools
import math
import struct
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, cast

import av
import pytest
from mutagen.aac import AAC
from mutagen.flac import FLAC
from mutagen.mp3 import MP3
from mutagen.oggopus import OggOpus
from mutagen.wave import WAVE

from app.media.speaking import FORMS, Encoder, SpeechFormat
from app.media.speech_decoding import to_pcm
from app.media.speech_joining import Joiner
from app.media.speech_pcm import seconds_of, to_frame
from app.media.speech_tempo import Stretcher
from app.media.speech_wholeness import is_whole

FILES: list[SpeechFormat] = ["mp3", "opus", "aac", "flac", "wav"]
FORMATS: list[SpeechFormat] = [*FILES, "pcm"]
EXACT: list[SpeechFormat] = ["opus", "flac", "wav"]
PADDING_SECONDS = 0.1
"""MP3 and ADTS have no place to tell how much of their first and last blocks is padding."""

Cut = Callable[[bytes], Iterable[bytes]]


def tone(seconds: float, hertz: float = 440, loudness: int = 9000) -> bytes:
    count = round(seconds * 24_000)
    return struct.pack(f"<{count}h", *(int(loudness * math.sin(math.tau * hertz * at / 24_000)) for at in range(count)))


def hertz_of(pcm: bytes) -> float:
    """By how often the middle of it, which no padding touches, goes from below zero to above."""
    samples = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    middle = samples[len(samples) // 4 : len(samples) * 3 // 4]
    rises: int = sum(one < 0 <= other for one, other in itertools.pairwise(middle))
    return rises * 24_000 / len(middle)


def encoded(to: SpeechFormat, chunks: Iterable[bytes], tempo: float = 1.0) -> bytes:
    with Encoder(to, tempo=tempo) as encoder:
        return b"".join(map(encoder.feed, chunks)) + encoder.close()


def decoded(to: SpeechFormat, data: bytes) -> bytes:
    return data if to == "pcm" else to_pcm(data)


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def made_with(container_format: str, codec: str, pcm: bytes, rate: int = 24_000, layout: str = "mono") -> bytes:
    """A file whose header tells its length, by FFmpeg."""
    file = BytesIO()
    with av.open(file, "w", format=container_format) as container:
        stream = cast("av.AudioStream", container.add_stream(codec, rate=rate, layout=layout))
        container.mux(stream.encode(to_frame(pcm, 0)))
        container.mux(stream.encode(None))
        container.close()
        return file.getvalue()


# The encoder


@pytest.mark.parametrize(
    ("to", "magic"),
    [
        ("mp3", b"\xff\xf3"),
        ("opus", b"OggS\x00\x02"),
        ("aac", b"\xff\xf1"),
        ("flac", b"fLaC\x00"),
        ("wav", b"RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\xc0\x5d\x00\x00"),
        ("pcm", struct.pack("<3h", 0, 1034, 2055)),
    ],
)
def test_a_file_begins_as_its_format_does(to: SpeechFormat, magic: bytes) -> None:
    data = encoded(to, [tone(0.5)])
    assert data.startswith(magic)
    assert b"Xing" not in data[:200]
    assert b"Info" not in data[:200]


@pytest.mark.parametrize("to", FORMATS)
def test_what_is_heard_is_what_was_said(to: SpeechFormat) -> None:
    pcm = tone(2.017)
    heard = decoded(to, encoded(to, [pcm]))
    assert hertz_of(heard) == pytest.approx(440, abs=4)
    assert seconds_of(len(heard)) == pytest.approx(2.017, abs=1 / 24_000 if to in [*EXACT, "pcm"] else PADDING_SECONDS)
    assert max(struct.unpack(f"<{len(heard) // 2}h", heard)) == pytest.approx(9000, rel=0.2)


@pytest.mark.parametrize("to", ["flac", "wav", "pcm"])
def test_nothing_is_lost_where_nothing_need_be(to: SpeechFormat) -> None:
    pcm = tone(0.73, hertz=1234)
    assert decoded(to, encoded(to, [pcm])) == pcm


PARSERS: dict[SpeechFormat, Any] = {"mp3": MP3, "opus": OggOpus, "aac": AAC, "flac": FLAC, "wav": WAVE}


def info_of(to: SpeechFormat, seconds: float) -> Any:
    return PARSERS[to](BytesIO(encoded(to, [tone(seconds)]))).info


@pytest.mark.parametrize("to", ["mp3", "opus", "aac"])
def test_other_programs_find_the_same_length(to: SpeechFormat) -> None:
    info = info_of(to, 2.017)
    assert info.length == pytest.approx(2.017, abs=0.01 if to == "opus" else PADDING_SECONDS)
    assert getattr(info, "channels", 1) == 1


def test_other_programs_read_the_headers() -> None:
    mp3, aac, flac, wav = (info_of(to, 1) for to in FILES if to != "opus")
    assert (mp3.sample_rate, mp3.bitrate, mp3.sketchy) == (24_000, 128_000, False)
    assert (aac.sample_rate, aac.channels) == (24_000, 1)
    assert (flac.sample_rate, flac.channels, flac.bits_per_sample, flac.total_samples) == (24_000, 1, 16, 0)
    assert (wav.sample_rate, wav.channels, wav.bits_per_sample) == (24_000, 1, 16)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("tempo", [1.0, 1.25])
@pytest.mark.parametrize("size", [1, 7, 4801, 40_000])
def test_how_speech_was_cut_does_not_show(to: SpeechFormat, tempo: float, size: int) -> None:
    pcm = tone(0.43)
    assert encoded(to, pieces(pcm, size), tempo) == encoded(to, [pcm], tempo)


@pytest.mark.parametrize("to", FORMATS)
def test_half_a_sample_at_the_end_is_dropped(to: SpeechFormat) -> None:
    assert encoded(to, [tone(0.2), b"\x01"]) == encoded(to, [tone(0.2)])


@pytest.mark.parametrize("tempo", [0.25, 0.5, 0.9, 1.5, 2.0, 4.0])
@pytest.mark.parametrize("to", ["opus", "wav", "pcm"])
def test_tempo_changes_the_length_but_not_the_pitch(to: SpeechFormat, tempo: float) -> None:
    heard = decoded(to, encoded(to, pieces(tone(2), 4800), tempo))
    assert seconds_of(len(heard)) == pytest.approx(2 / tempo, abs=0.001)
    assert hertz_of(heard) == pytest.approx(440, rel=0.02)


@pytest.mark.parametrize("tempo", [0.25, 0.26, 0.77, 1.99, 4.0])
@pytest.mark.parametrize("samples", [1, 50, 2399, 7000])
def test_even_a_word_has_the_right_length(tempo: float, samples: int) -> None:
    assert len(encoded("pcm", [tone(samples / 24_000)], tempo)) == 2 * round(samples / tempo)


@pytest.mark.parametrize("tempo", [0.0, 0.24, 4.01, math.inf, math.nan])
def test_a_tempo_out_of_bounds_is_refused(tempo: float) -> None:
    with pytest.raises(ValueError, match=r"from 0\.25 to 4"):
        Encoder("mp3", tempo=tempo)
    with pytest.raises(ValueError, match=r"from 0\.25 to 4"):
        Stretcher(tempo)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("tempo", [1.0, 0.25])
@pytest.mark.parametrize("chunks", [[], [b""], [b"\x01"]])
def test_nothing_said_is_a_file_too(to: SpeechFormat, tempo: float, chunks: list[bytes]) -> None:
    data = encoded(to, chunks, tempo)
    if to in ("mp3", "opus", "aac"):
        assert seconds_of(len(to_pcm(data))) == pytest.approx(0.1, abs=PADDING_SECONDS)
        assert max(map(abs, struct.unpack(f"<{len(to_pcm(data)) // 2}h", to_pcm(data)))) < 10
    elif to != "pcm":
        with av.open(BytesIO(data), "r") as container:
            assert list(container.decode(audio=0)) == []
    else:
        assert data == b""


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("tempo", [0.25, 1.0, 4.0])
def test_the_file_begins_within_half_a_second_and_keeps_coming(to: SpeechFormat, tempo: float) -> None:
    header = {"opus": 97, "flac": 60, "wav": 44}.get(to, 0)
    half = math.ceil(5 * max(1, tempo))
    with Encoder(to, tempo=tempo) as encoder:
        counts = [len(encoder.feed(piece)) for piece in pieces(tone(3 * max(1, tempo)), 4800)]
        rest = len(encoder.close())
    assert sum(counts[:half]) > header
    assert all(sum(counts[at : at + half]) for at in range(len(counts) - half))
    assert rest < sum(counts) / 3
    assert len(encoder._waiting) < 4800


@pytest.mark.parametrize("to", FORMATS)
def test_a_closed_encoder_stays_closed(to: SpeechFormat) -> None:
    with Encoder(to) as encoder:
        encoder.feed(tone(0.35))
        assert encoder.close()
        assert encoder.close() == b""
        with pytest.raises(ValueError, match="closed"):
            encoder.feed(tone(0.1))


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("tempo", [1.0, 2.0])
def test_a_failure_frees_the_encoder(to: SpeechFormat, tempo: float) -> None:
    encoder = Encoder(to, tempo=tempo)
    encoder._file._data = None  # type: ignore[assignment]  # as if its place were full
    with pytest.raises(TypeError):
        encoder.feed(tone(2))
    assert encoder.close() == b""
    with pytest.raises(ValueError, match="closed"):
        encoder.feed(tone(0.1))


def test_an_encoder_is_freed_when_its_user_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), Encoder("mp3", tempo=2) as encoder:
        encoder.feed(tone(0.3 / len(encoder.feed(b""))))
    assert encoder.close() == b""
    assert capfd.readouterr() == ("", "")


def test_every_format_has_its_form() -> None:
    assert set(FORMS) == set(FORMATS)


# The decoder


@pytest.mark.parametrize(
    ("container", "codec", "rate", "layout"),
    [
        ("wav", "pcm_s16le", 24_000, "mono"),
        ("wav", "pcm_s16le", 44_100, "stereo"),
        ("wav", "pcm_f32le", 48_000, "mono"),
        ("wav", "pcm_u8", 16_000, "mono"),
        ("wav", "pcm_mulaw", 8_000, "mono"),
        ("wav", "pcm_alaw", 8_000, "mono"),
        ("mp3", "libmp3lame", 22_050, "mono"),
        ("mp3", "libmp3lame", 44_100, "stereo"),
        ("ogg", "libopus", 48_000, "stereo"),
        ("flac", "flac", 44_100, "stereo"),
        ("ogg", "flac", 24_000, "mono"),
        ("ipod", "aac", 44_100, "stereo"),
        ("ipod", "aac", 24_000, "mono"),
    ],
)
def test_every_file_becomes_pcm_without_its_padding(container: str, codec: str, rate: int, layout: str) -> None:
    pcm = to_pcm(made_with(container, codec, tone(1.3), rate, layout))
    assert seconds_of(len(pcm)) == pytest.approx(1.3, abs=0.03)
    assert hertz_of(pcm) == pytest.approx(440, abs=5)


def test_a_file_may_change_its_form_on_the_way() -> None:
    joined = made_with("adts", "aac", tone(1), 24_000) + made_with("adts", "aac", tone(1), 48_000, "stereo")
    pcm = to_pcm(joined)
    assert seconds_of(len(pcm)) == pytest.approx(2, abs=0.2)
    for half in (pcm[: len(pcm) // 4 * 2], pcm[len(pcm) // 4 * 2 :]):
        assert hertz_of(half) == pytest.approx(440, abs=5)


WAV = made_with("wav", "pcm_s16le", tone(0.5))
LENGTH_AT = WAV.index(b"data") + 4


@pytest.mark.parametrize("length", [0, 0x7FFF0000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("missing", [0, 1, 5000])
def test_wav_of_open_length_goes_on_to_its_end(length: int, missing: int) -> None:
    data = WAV[:LENGTH_AT] + length.to_bytes(4, "little") + WAV[LENGTH_AT + 4 : len(WAV) - missing]
    assert to_pcm(data) == tone(0.5)[: 24_000 - missing - missing % 2]


def test_a_few_bytes_may_be_missing() -> None:
    assert len(to_pcm(WAV[:-4])) == 23_996


def test_bytes_behind_the_sound_do_no_harm() -> None:
    assert to_pcm(WAV + b"LIST\x04\x00\x00\x00INFO") == tone(0.5)


FILES_THAT_TELL = {
    "wav": WAV,
    "ogg": made_with("ogg", "libopus", tone(1), 48_000),
    "adts": made_with("adts", "aac", tone(1)),
    "flac": made_with("flac", "flac", tone(1)),
    "flac, open": encoded("flac", [tone(1)]),
    "mp4": made_with("mp4", "aac", tone(1)),
}


@pytest.mark.parametrize("kind", FILES_THAT_TELL)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
def test_a_file_that_breaks_off_does_not_look_whole(kind: str, share: float) -> None:
    data = FILES_THAT_TELL[kind]
    assert len(to_pcm(data)) >= 24_000
    with pytest.raises(ValueError, match=r"breaks off|decoded"):
        to_pcm(data[: int(len(data) * share)])


def test_flac_that_breaks_off_between_blocks_does_not_look_whole() -> None:
    data = made_with("flac", "flac", tone(1))
    last_block = data.rindex(b"\xff\xf8")
    with pytest.raises(ValueError, match="breaks off"):
        to_pcm(data[:last_block])


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"", True),
        (b"anything", True),
        (b"RIFF\0\0\0\0WAVE", False),
        (b"OggS", False),
        (FILES_THAT_TELL["ogg"] + b"OggS\0\x04" + bytes(20) + b"\x02\x05", False),
        (FILES_THAT_TELL["ogg"] + b"OggS\0\x04" + bytes(20) + b"\x01\x05four", False),
        (FILES_THAT_TELL["ogg"] + b"OggS\0\x04" + bytes(20) + b"\x01\x04four", True),
        (b"\0\0\0\x10ftyp" + bytes(8), True),
        (b"\0\0\0\x08ftyp\0\0\0\0mdat", True),
        (b"\0\0\0\x08ftyp\0\0\0\x01mdat\0\0\0\0\0\0\0\x11!", True),
        (b"\0\0\0\x08ftyp\0\0\0\x01mdat\0\0\0\0\0\0\0\x12!", False),
        (b"\xff\xf1X@\x01\x1f\xfc!", True),
        (b"\xff\xf1X@\x01\x3f\xfc!", False),
        (b"\xff\xf1X@\x01\x1f\xfc!\xff\xf1X", False),
        (b"\xff\xf1X@\x01\x1f\xfc!\xff", True),
    ],
)
def test_wholeness(data: bytes, whole: bool) -> None:
    assert is_whole(data) is whole


BROKEN = {
    "nothing": b"",
    "text": b"This is not a sound." * 50,
    "JSON": b'{"errors": [{"code": 5006, "message": "No such speaker"}]}',
    "a playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(500),
    "PCM without a header": tone(0.2),
    "MP3 of noise": b"\xff\xfb\x90\x64" + bytes(range(1, 200)) * 30,
    "WAV without a format": b"RIFF\xff\xff\xff\xffWAVEdata\xff\xff\xff\xff" + bytes(100),
    "damaged AAC": bytes(b ^ (at % 89 == 88) * 0x5A for at, b in enumerate(FILES_THAT_TELL["adts"])),
    "damaged FLAC": FILES_THAT_TELL["flac"][:60] + bytes(len(FILES_THAT_TELL["flac"]) - 60),
    "no sound": encoded("wav", []),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_sound_is_refused(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"can't be decoded|no sound|breaks off"):
        to_pcm(BROKEN[kind])
    assert capfd.readouterr() == ("", "")


def wav_of(samples: bytes, rate: int, codec: int = 1) -> bytes:
    form = (1, rate, rate, 1, 8)
    return struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 0, b"WAVE", b"fmt ", 16, codec, *form, b"data", 0) + samples


def test_a_small_file_can_not_stand_for_hours() -> None:
    with pytest.raises(ValueError, match="longer than 30 minutes"):
        to_pcm(wav_of(bytes(1801 * 8_000), 8_000))


@pytest.mark.parametrize("rate", [1, 3_999, 192_001, 3_000_000_000])
def test_odd_rates_are_refused(rate: int) -> None:
    with pytest.raises(ValueError, match="can't be decoded"):
        to_pcm(wav_of(bytes(4_000), rate))


def test_a_codec_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="can't be decoded"):
        to_pcm(wav_of(bytes(4_000), 8_000, codec=0x1234))


# The joiner


def joined(parts: list[bytes], cut: Cut = lambda part: [part]) -> bytes:
    joiner = Joiner()
    given = []
    for at, part in enumerate(parts):
        given += [joiner.seam()] * (at > 0) + [joiner.feed(piece) for piece in cut(part)]
    return b"".join(given) + joiner.close()


def silence(seconds: float) -> bytes:
    return bytes(round(seconds * 24_000) * 2)


def largest_jump(pcm: bytes) -> int:
    samples: tuple[int, ...] = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    return max(abs(one - other) for one, other in itertools.pairwise(samples))


def loud(seconds: float) -> bytes:
    """It begins and ends at its loudest, so a cut in it clicks."""
    return tone(seconds + 0.001, hertz=250, loudness=20_000)[48:]


def test_seams_have_no_clicks() -> None:
    part = loud(0.3)
    assert largest_jump(part + silence(0.25) + part) > 15_000
    assert largest_jump(joined([part, part, part])) < 2_000


def test_only_the_seams_are_touched() -> None:
    one, other = loud(0.3), tone(0.2, loudness=5_000)
    whole = joined([one, other])
    assert len(whole) == len(one) + 12_000 + len(other)
    assert whole[: len(one) - 240] == one[:-240]
    assert whole[len(one) : len(one) + 12_000] == bytes(12_000)
    assert whole[len(one) + 12_000 + 240 :] == other[240:]
    assert joined([one]) == one


@pytest.mark.parametrize(
    ("before", "after", "pause"),
    [(0, 0, 0.25), (0.1, 0, 0.25), (0, 0.1, 0.25), (0.1, 0.1, 0.25), (0.2, 0.2, 0.4), (0.25, 0, 0.25), (1, 1, 2)],
)
def test_silence_that_is_there_counts(before: float, after: float, pause: float) -> None:
    whole = joined([tone(0.2) + silence(before), silence(after) + tone(0.2)])
    assert seconds_of(len(whole)) == pytest.approx(0.4 + pause, abs=0.006)


def test_faint_noise_is_silence() -> None:
    noise = tone(0.3, loudness=90)
    assert len(joined([tone(0.2) + noise, tone(0.2)])) == len(tone(0.2) * 2 + noise)


@pytest.mark.parametrize("size", [1, 3, 240, 241, 5000])
@pytest.mark.parametrize("pause", [0, 0.003, 0.1, 0.5])
def test_how_parts_were_cut_does_not_show(size: int, pause: float) -> None:
    parts = [loud(0.2) + silence(pause), silence(pause) + loud(0.003), silence(pause) + tone(0.1)]
    assert joined(parts, lambda part: pieces(part, size)) == joined(parts)


@pytest.mark.parametrize("empty", [[], [b""], [b"", b"\x01"]])
def test_empty_parts_are_none(empty: list[bytes]) -> None:
    one, other = loud(0.2), tone(0.2)
    assert joined([*empty, one, *empty, other]) == joined([one, other])
    assert joined(empty) == b""


def test_nothing_is_put_behind_the_last_part() -> None:
    assert len(joined([tone(0.2), b""])) == len(tone(0.2))


def test_half_a_sample_at_the_end_of_a_part_is_dropped() -> None:
    assert joined([loud(0.2) + b"\x7f", tone(0.2) + b"\x7f"]) == joined([loud(0.2), tone(0.2)])


@pytest.mark.parametrize("samples", [1, 2, 60, 119, 120, 121])
def test_parts_shorter_than_a_fade_are_parts_too(samples: int) -> None:
    short = loud(samples / 24_000 + 0.01)[: 2 * samples]
    whole = joined([tone(0.2), short, tone(0.2)])
    assert len(whole) == len(tone(0.4)) + len(short) + 2 * 12_000
    assert largest_jump(whole) < 12_000


def test_a_joiner_holds_back_a_few_milliseconds() -> None:
    joiner = Joiner()
    given = 0
    for at, piece in enumerate(pieces(loud(0.5), 480), start=1):
        given += len(joiner.feed(piece))
        assert at * 480 - given <= 480
    given += len(joiner.seam())
    assert given == len(loud(0.5))
    assert len(joiner.feed(loud(0.1))) > 12_000


def test_seconds_of() -> None:
    assert (seconds_of(0), seconds_of(48_000), seconds_of(24_000)) == (0.0, 1.0, 0.5)

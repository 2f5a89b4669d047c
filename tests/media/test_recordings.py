"""Recordings of every kind, whole and broken: what is heard is what was said, once."""

import gc
import os
import random
import socket
import struct
import tracemalloc
from array import array
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.calls import Sound
from app.media.recordings import RATE, SECOND, UnreadableError, _Clock, _decoded, pieces, to_flac
from tests.media.recorded import (
    ANYTHING,
    MARKS,
    PADDING_SECONDS,
    SECONDS,
    Form,
    about,
    cut,
    decoded,
    frame_of,
    heard,
    marks_of,
    tones,
    video_only,
    wav,
    written,
)

MP3, OGG, WEBM, M4A = Form("mp3", "libmp3lame"), Form("ogg", "libopus"), Form("webm", "libopus"), Form("ipod", "aac")
FLAC = Form("flac", "flac", RATE)
TITLE = (("title", "Grüße"), ("artist", "x" * 3000))

FORMS = {
    "wav": (Form("wav", "pcm_s16le"), "audio/wav"),
    "wav of 24 bits": (Form("wav", "pcm_s24le"), ""),
    "wav of floats": (Form("wav", "pcm_f32le", 44_100), ""),
    "wav of 8 kHz": (Form("wav", "pcm_s16le", 8_000), "audio/wav"),
    "wav of 16 kHz": (Form("wav", "pcm_s16le", 16_000), "audio/wav"),
    "stereo wav": (Form("wav", "pcm_s16le", 44_100, "stereo"), "audio/wav"),
    "wav of A-law": (Form("wav", "pcm_alaw", 8_000), ""),
    "mp3": (MP3, "audio/mpeg"),
    "mp3 with an ID3 tag": (Form("mp3", "libmp3lame", 44_100, "stereo", tags=TITLE), "audio/mpeg"),
    "mp3 with a cover": (Form("mp3", "libmp3lame", 44_100, cover=True, tags=TITLE), "audio/mpeg"),
    "mp3 of 16 kHz": (Form("mp3", "libmp3lame", 16_000), "audio/mpeg"),
    "m4a": (Form("ipod", "aac", 44_100), "audio/mp4"),
    "m4a of ALAC": (Form("ipod", "alac"), ""),
    "mp4 with video": (Form("mp4", "aac", video=True), ""),
    "mov with video": (Form("mov", "aac", video=True), ""),
    "3gp": (Form("3gp", "libopencore_amrnb", 8_000), ""),
    "webm": (WEBM, "audio/webm"),
    "mkv with video": (Form("matroska", "aac", video=True), ""),
    "mkv of FLAC": (Form("matroska", "flac"), ""),
    "ogg of Opus": (OGG, "audio/ogg"),
    "ogg of Vorbis": (Form("ogg", "vorbis", 44_100, "stereo"), "audio/ogg"),
    "ogg of FLAC": (Form("ogg", "flac"), ""),
    "flac": (Form("flac", "flac", 44_100), "audio/flac"),
    "stereo flac": (Form("flac", "flac", 96_000, "stereo"), "audio/flac"),
    "aiff": (Form("aiff", "pcm_s16be", 44_100), ""),
    "caf": (Form("caf", "pcm_s16be"), ""),
    "au": (Form("au", "pcm_mulaw", 8_000), ""),
    "w64": (Form("w64", "pcm_s16le"), ""),
    "amr": (Form("amr", "libopencore_amrnb", 8_000), ""),
    "aac": (Form("adts", "aac", 44_100), ""),
    "ac3": (Form("ac3", "ac3"), ""),
    "ts": (Form("mpegts", "aac", video=True), ""),
    "avi": (Form("avi", "libmp3lame", 44_100), ""),
    "flv": (Form("flv", "aac", 44_100), ""),
    "tta": (Form("tta", "tta"), ""),
    "mp2": (Form("mp2", "mp2"), ""),
    "5.1": (Form("flac", "flac", 48_000, "5.1"), "audio/flac"),
}

each_form = pytest.mark.parametrize(("form", "content_type"), FORMS.values(), ids=FORMS)


class TestContainers:
    @each_form
    def test_sound_is_where_it_was(self, form: Form, content_type: str) -> None:
        assert heard(written(form)) == about(MARKS)

    @each_form
    def test_what_the_model_takes_goes_as_it_came(self, form: Form, content_type: str) -> None:
        data = written(form)
        (sound,) = cut(data, takes=ANYTHING)
        assert sound.content_type == (content_type or "audio/flac")
        assert (sound.data == data) is bool(content_type)
        assert sound.start_seconds == 0
        assert sound.duration_seconds == pytest.approx(SECONDS, abs=PADDING_SECONDS)
        assert not sound.is_silent

    @each_form
    def test_pieces_leave_nothing_out(self, form: Form, content_type: str) -> None:
        data = written(form)
        (whole,) = cut(data)
        sounds = cut(data, max_seconds=1.3, takes=ANYTHING)
        assert len(sounds) > 2
        assert {sound.content_type for sound in sounds} == {"audio/flac"}
        assert b"".join(decoded(sound.data) for sound in sounds) == decoded(whole.data)

    def test_a_size_over_the_limit_is_encoded_anew(self) -> None:
        data = written(Form("wav", "pcm_s16le"))
        assert [sound.data for sound in cut(data, max_bytes=len(data), takes=ANYTHING)] == [data]
        (sound,) = cut(data, max_bytes=len(data) - 1, takes=ANYTHING)
        assert sound.content_type == "audio/flac"
        assert len(sound.data) < len(data) / 3

    def test_the_file_is_read_from_its_beginning(self) -> None:
        data = written(OGG)
        file = BytesIO(data)
        (sound,) = pieces(file, len(data), max_seconds=60, max_bytes=10**8, takes=ANYTHING)
        assert sound.data == data

    def test_a_tag_in_no_known_script_does_no_harm(self) -> None:
        note = b"INFOINAM" + struct.pack("<I", 6) + b"\xff\xfeab\xe9\0"
        data = wav(tones(), chunk=b"LIST" + struct.pack("<I", len(note)) + note)
        assert heard(data) == about(MARKS)

    def test_channels_are_mixed(self) -> None:
        left = array("h", (sample for pair in ((tone, 0) for tone in tones()) for sample in pair))
        assert heard(wav(left, channels=2)) == about(MARKS)

    def test_joined_recordings_may_differ(self) -> None:
        kinds = [MP3, Form("mp3", "libmp3lame", 44_100, "stereo"), Form("mp3", "libmp3lame", 22_050)]
        marks = heard(b"".join(written(kind) for kind in kinds))
        expected = [(start + i * SECONDS, end + i * SECONDS) for i in range(3) for start, end in MARKS]
        assert marks == [pytest.approx(mark, abs=3 * PADDING_SECONDS) for mark in [*expected, (9, 9)]]

    def test_joined_ogg_files_are_one(self) -> None:
        expected = [(start + i * SECONDS, end + i * SECONDS) for i in range(2) for start, end in MARKS]
        assert heard(written(OGG) * 2) == about(expected, 2 * SECONDS)

    def test_what_changes_with_nothing_held_back_loses_nothing(self) -> None:
        """16 kHz mono passes the resampler untouched."""
        assert marks_of(b"".join(decoded(piece.data) for piece in cut(wav(tones())))) == marks_of(tones().tobytes())


class TestPieces:
    @staticmethod
    def check(samples: "array[int]", max_seconds: float) -> list[Sound]:
        """Every sample once, in order, and no piece too long."""
        sounds = cut(wav(samples), max_seconds=max_seconds)
        assert b"".join(decoded(sound.data) for sound in sounds) == samples.tobytes()
        assert all(sound.duration_seconds <= max_seconds for sound in sounds)
        assert sounds[0].start_seconds == 0
        for sound, following in pairwise(sounds):
            assert sound.start_seconds + sound.duration_seconds == pytest.approx(following.start_seconds)
        assert sum(sound.duration_seconds for sound in sounds) == pytest.approx(len(samples) / RATE)
        for sound in sounds:
            assert len(decoded(sound.data)) == round(sound.duration_seconds * SECOND)
        return sounds

    @settings(max_examples=40, deadline=None)
    @given(
        seconds=st.floats(0.01, 12),
        max_seconds=st.floats(1, 13),
        peak=st.sampled_from([0, 20, 300, 32_767]),
        seed=st.integers(0, 1000),
    )
    def test_together_they_are_the_whole(self, seconds: float, max_seconds: float, peak: int, seed: int) -> None:
        chance = random.Random(seed)
        second = array("h", (chance.randint(-peak, peak) for _ in range(RATE)))
        samples = (second * 13)[: max(1, round(seconds * RATE))]
        for sound in (sounds := self.check(samples, max_seconds))[:-1]:
            assert sound.duration_seconds > max_seconds / 2 - 0.001
        if len(sounds) > 1:
            assert sounds[-1].duration_seconds >= min(1, max_seconds / 4) - 0.001

    def test_they_are_cut_in_the_silences(self) -> None:
        marks = [(start + i * SECONDS, end + i * SECONDS) for i in range(10) for start, end in MARKS]
        sounds = self.check(tones(30, marks), 5)
        cuts = [sound.start_seconds for sound in sounds[1:]]
        assert len(cuts) >= 6
        for at in cuts:
            assert all(at <= start - 0.1 or at >= end + 0.1 for start, end in marks)

    @pytest.mark.parametrize(("samples", "count"), [(5 * RATE - 1, 1), (5 * RATE, 1), (5 * RATE + 1, 2)])
    def test_one_that_just_fits_stays_whole(self, samples: int, count: int) -> None:
        noise = array("h", random.Random(1).randbytes(2 * samples))
        assert len(self.check(noise, 5)) == count

    def test_a_long_one_goes_as_flac_though_the_model_takes_it(self) -> None:
        sounds = cut(written(Form("wav", "pcm_s16le")), max_seconds=2, takes=ANYTHING)
        assert [sound.content_type for sound in sounds] == ["audio/flac", "audio/flac"]

    def test_pieces_tell_which_of_them_are_silent(self) -> None:
        sounds = cut(wav(tones(12, [(0.0, 1.5)])), max_seconds=4)
        assert [sound.is_silent for sound in sounds] == [False] + [True] * (len(sounds) - 1)

    @pytest.mark.parametrize("takes", [frozenset(), ANYTHING])
    @pytest.mark.parametrize(
        ("value", "is_silent"), [(0, True), (20, True), (-33, True), (2000, False), (-2000, False)]
    )
    def test_a_silent_recording_is_said_to_be(self, takes: frozenset[str], value: int, is_silent: bool) -> None:
        assert [sound.is_silent for sound in cut(wav(tones(1, [], offset=value)), takes=takes)] == [is_silent]

    @pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
    @pytest.mark.parametrize("count", [1, 2, 480])
    @pytest.mark.parametrize("takes", [frozenset(), ANYTHING])
    def test_the_shortest_recording_is_one(self, rate: int, count: int, takes: frozenset[str]) -> None:
        (sound,) = cut(wav(array("h", [9000]) * count, rate), takes=takes)
        assert sound.duration_seconds == pytest.approx(count / rate, abs=5 / RATE)


class TestGaps:
    @pytest.mark.parametrize("form", [WEBM, OGG, M4A, Form("matroska", "pcm_s16le"), Form("mpegts", "aac")])
    @pytest.mark.parametrize("gap", [0.5, 5.0, 25.0])
    def test_a_gap_is_silence(self, form: Form, gap: float) -> None:
        assert heard(written(form, jumps=[(2, gap)])) == about([*MARKS[:2], (2.4 + gap, 2.8 + gap)], SECONDS + gap)

    @pytest.mark.parametrize("form", [WEBM, OGG, M4A])
    def test_a_jump_of_hours_is_another_clock(self, form: Form) -> None:
        assert heard(written(form, jumps=[(2, 3 * 3600.0)])) == about(MARKS)

    def test_a_gap_after_another_clock_is_one(self) -> None:
        data = written(WEBM, jumps=[(1, 3 * 3600.0), (2, 5)])
        assert heard(data) == about([*MARKS[:2], (7.4, 7.8)], SECONDS + 5)

    def test_a_clock_that_goes_back_is_another(self) -> None:
        form = Form("mpegts", "aac")
        expected = [(start + i * SECONDS, end + i * SECONDS) for i in range(2) for start, end in MARKS]
        assert heard(written(form, delay_seconds=100) + written(form)) == about(expected, 2 * SECONDS)

    def test_every_gap_counts(self) -> None:
        assert heard(written(WEBM, jumps=[(1, 2), (2, 3)])) == about([(0.5, 0.8), (3.5, 3.7), (7.4, 7.8)], SECONDS + 5)

    @pytest.mark.parametrize("container", ["mp4", "matroska"])
    def test_sound_that_starts_after_the_picture_does_so(self, container: str) -> None:
        data = written(Form(container, "aac", video=True), delay_seconds=1)
        assert heard(data) == about([(start + 1, end + 1) for start, end in MARKS], SECONDS + 1)

    @pytest.mark.parametrize("form", [WEBM, Form("mpegts", "aac")])
    def test_a_recording_of_its_own_starts_at_nought(self, form: Form) -> None:
        assert heard(written(form, delay_seconds=1000)) == about(MARKS)

    def test_a_small_file_does_not_stand_for_days(self) -> None:
        """Its gaps together are no longer than one may be."""
        jumps = [(at / 10, 1500.0) for at in range(1, 29)]
        assert length_of(written(WEBM, jumps=jumps)) == pytest.approx(3000 + SECONDS, abs=1)

    def test_more_than_a_day_is_too_much(self) -> None:
        clock, day = _Clock(0), av.AudioFrame("s16", "mono", 4000)
        day.sample_rate = 4000
        for _ in range(24 * 3600):
            clock.gap(day)
        with pytest.raises(UnreadableError, match="24 hours"):
            clock.gap(day)


def length_of(data: bytes) -> float:
    """Seconds, without what it takes to cut them."""
    with av.open(BytesIO(data), "r") as container:
        return sum(len(pcm) for pcm in _decoded(container)) / SECOND


def cut_lazily(data: bytes, max_seconds: float) -> Iterator[Sound]:
    return pieces(BytesIO(data), len(data), max_seconds=max_seconds, max_bytes=0, takes=frozenset())


def with_garbage(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + random.Random(2).randbytes(3000) + data[middle:]


class TestDamage:
    @pytest.mark.parametrize("form", [MP3, Form("wav", "pcm_s16le"), OGG, WEBM, Form("adts", "aac")])
    def test_of_a_file_that_ends_early_the_beginning_is_heard(self, form: Form) -> None:
        data = written(form)
        (start, end), *_ = heard(data[: len(data) * 6 // 10])
        assert (start, end) == pytest.approx(MARKS[0], abs=PADDING_SECONDS)

    def test_a_flac_that_ends_early_too(self) -> None:
        noise = array("h", random.Random(1).randbytes(10 * RATE))
        data = written(FLAC, noise)
        (sound,) = cut(data[: len(data) // 2])
        assert sound.duration_seconds == pytest.approx(2.5, abs=0.3)
        pcm = decoded(sound.data)
        assert pcm == noise.tobytes()[: len(pcm)]

    def test_a_wav_may_announce_more_than_it_has(self) -> None:
        """As those do that were streamed."""
        assert heard(wav(tones(), announced=2**32 - 1)) == about(MARKS)

    def test_garbage_in_an_mp3_is_skipped(self) -> None:
        marks = heard(with_garbage(written(MP3)))
        assert len(marks) > 2
        assert marks[0] == pytest.approx(MARKS[0], abs=PADDING_SECONDS)
        assert marks[-1][1] == pytest.approx(SECONDS, abs=0.3)

    def test_a_broken_packet_is_skipped(self) -> None:
        data = bytearray(written(FLAC, tones(30)))
        middle = data.rfind(b"\xff\xf8", 0, len(data) - 500)
        data[middle + 8 : middle + 12] = b"\xff" * 4
        (sound,) = cut(bytes(data))
        assert sound.duration_seconds == pytest.approx(30, abs=0.5)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\0" * 50_000,
            random.Random(3).randbytes(50_000),
            b"Dear whisper, please listen to this.\n" * 100,
            b"<!doctype html><html><body>Not found</body></html>",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc`\0\0\0\2\0\1H\xaf\xa4q",
            written(M4A)[:-3000][:3000],  # without the index that stands at its end
            written(M4A)[:200],
            written(OGG)[:100],
            written(WEBM)[:150],
            written(MP3)[:100],
            written(FLAC)[:100],
            wav(b""),
            wav(b"")[:30],
            video_only(),
            wav(tones(), channels=0),
            wav(tones(), 0),
        ],
    )
    def test_what_is_no_recording_is_refused(self, data: bytes) -> None:
        with pytest.raises(UnreadableError, match=r"^(It|There|Its) .+\.$"):
            cut(data)

    @pytest.mark.parametrize("rate", [1, 3_999, 768_001, 2**31 - 1])
    def test_a_rate_that_sound_has_not_is_refused(self, rate: int) -> None:
        with pytest.raises(UnreadableError, match=r"samples per second|can't be read"):
            cut(wav(tones(), rate))

    def test_a_flac_of_one_sample_per_second_is_no_longer_for_it(self) -> None:
        """Its packets say otherwise; what it makes of the clock is as good as any gap."""
        data = bytearray(written(FLAC))
        at = data.index(b"fLaC") + 8 + 10
        data[at : at + 3] = bytes([0, 0, 0x10 | data[at + 2] & 15])
        assert length_of(bytes(data)) < 3600 + SECONDS

    @pytest.mark.parametrize(("seconds", "is_whole"), [(20, 3), (0.2, 7)])
    def test_a_stream_that_is_much_broken_is_refused(self, seconds: float, is_whole: int) -> None:
        """`is_whole`: every so many packets one."""
        file = BytesIO()
        with av.open(file, "w", format="matroska") as container:
            stream = container.add_stream("flac", rate=RATE, layout="mono")
            for i, whole in enumerate(stream.encode(frame_of(tones(seconds, [(0.05, 0.15)]), RATE))):
                packet = av.Packet(b"\xff" * 50 if (i + 1) % is_whole else bytes(whole))
                packet.stream, packet.time_base = stream, whole.time_base
                packet.pts = packet.dts = whole.pts
                container.mux(packet)
        with pytest.raises(UnreadableError, match="It is damaged"):
            cut(file.getvalue())

    def test_a_sound_for_which_there_is_no_decoder_is_refused(self) -> None:
        data = written(Form("wav", "pcm_s16le", RATE))
        at = data.index(b"fmt ") + 8
        with pytest.raises(UnreadableError, match="can't be decoded"):
            cut(data[:at] + b"\x77\x77" + data[at + 2 :])

    @settings(max_examples=60, deadline=None)
    @given(
        form=st.sampled_from([MP3, OGG, WEBM, M4A, FLAC, Form("wav", "pcm_s16le", RATE), Form("avi", "libmp3lame")]),
        seed=st.integers(0, 10_000),
    )
    def test_whatever_is_broken_is_heard_or_refused(self, form: Form, seed: int) -> None:
        chance = random.Random(seed)
        data = bytearray(FILES.setdefault(form, written(form)))
        for _ in range(chance.choice([1, 5, 30])):
            at = chance.randrange(min(len(data), chance.choice([200, 10**6])))
            data[at : at + chance.choice([1, 4])] = chance.randbytes(chance.choice([0, 1, 4]))
        refusals: list[UnreadableError] = []
        sounds: list[Sound] = []
        try:
            sounds.append(next(cut_lazily(bytes(data), max_seconds=30)))
        except UnreadableError as refusal:
            refusals.append(refusal)
        assert len(sounds) + len(refusals) == 1
        assert all(sound.duration_seconds <= 30 for sound in sounds)


FILES: dict[Form, bytes] = {}


def box(kind: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I", len(data) + 8) + kind + data


PLAYLISTS: dict[str, Callable[[str], str]] = {
    "m3u8": lambda target: f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{target}\n#EXT-X-ENDLIST\n",
    "master m3u8": lambda target: f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{target}\n",
    "ffconcat": lambda target: f"ffconcat version 1.0\nfile '{target}'\n",
    "sdp": lambda target: (
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nu={target}\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"
    ),
    "dash": lambda target: (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
        f'<Period><AdaptationSet contentType="audio"><Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>"
    ),
    "asx": lambda target: f'<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
    "pls": lambda target: f"[playlist]\nFile1={target}\nNumberOfEntries=1\n",
    "asf reference": lambda target: f"[Reference]\nRef1={target}\n",
    "rtsp text": lambda target: f"RTSPtext\n{target}\n",
    "address": lambda target: target,
    "m3u8 disguised as mp3": lambda target: f"ID3\3\0\0\0\0\0\0#EXTM3U\n#EXTINF:3,\n{target}\n#EXT-X-ENDLIST\n",
    "m3u8 with a mark in front": lambda target: f"\ufeff#EXTM3U\n#EXTINF:3,\n{target}\n",
}


class TestPlaylists:
    @pytest.mark.parametrize("form", PLAYLISTS)
    def test_no_other_file_is_opened(self, form: str, tmp_path: Path) -> None:
        target = tmp_path / "tones.wav"
        target.write_bytes(wav(tones()))
        for name in (str(target), f"file://{target}", os.path.relpath(target), f"subfile,,start,0,end,0,,:{target}"):
            with pytest.raises(UnreadableError):
                cut(PLAYLISTS[form](name).encode())

    @pytest.mark.parametrize("form", PLAYLISTS)
    def test_no_address_is_called(self, form: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            host = f"127.0.0.1:{listening.getsockname()[1]}"
            for name in (
                f"http://{host}/a.mp3",
                f"tcp://{host}",
                f"rtsp://{host}/a",
                f"rtmp://{host}/a",
                f"tls://{host}",
            ):
                with pytest.raises(UnreadableError):
                    cut(PLAYLISTS[form](name).encode())
            with pytest.raises(BlockingIOError):
                listening.accept()

    def test_a_mov_does_not_lead_to_another_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        inside = written(Form("mov", "pcm_s16le", RATE))
        (tmp_path / "tones.mov").write_bytes(inside)
        name, path = b"tones.mov", bytes(tmp_path / "tones.mov")
        alias = bytearray(150)
        alias[4:8] = struct.pack(">HH", 150, 2)
        alias[50 - 8 : 50 - 8 + 1 + len(name)] = bytes([len(name)]) + name
        alias += struct.pack(">HH", 18, len(path)) + path + b"\0" * (len(path) % 2) + b"\xff\xff\0\0"
        index = inside[inside.index(b"moov") - 4 :]
        entry = box(b"alis", b"\0\0\0\0", bytes(alias))
        data = box(b"ftyp", b"qt  \0\0\2\0qt  ") + repointed(index, entry)
        try:
            *_, (seconds, _) = heard(data)
        except UnreadableError:
            seconds = 0
        assert seconds < 0.1  # what happens to lie in the file itself


def repointed(moov: bytes, entry: bytes) -> bytes:
    """A `moov` whose data reference is `entry`: every box around it grows."""
    at = moov.index(b"dref") + 4 + 8
    old = struct.unpack(">I", moov[at : at + 4])[0]
    growth = len(entry) - old
    data = bytearray(moov[:at] + entry + moov[at + old :])
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        start = moov.rindex(kind, 0, at) - 4
        size = struct.unpack(">I", moov[start : start + 4])[0]
        data[start : start + 4] = struct.pack(">I", size + growth)
    return bytes(data)


class TestCosts:
    def test_a_long_one_costs_no_more_memory_than_its_pieces_and_is_decoded_when_asked_for(self) -> None:
        data = written(FLAC, tones(30, [(10.0, 10.2)]) * 10)
        file = Counting(data)
        found = pieces(file, len(data), max_seconds=5, max_bytes=0, takes=ANYTHING)
        tracemalloc.start()
        try:
            first = next(found)
            assert file.most < len(data) // 2
            count = 1 + sum(1 for _ in found)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert first.start_seconds == 0
        assert count >= 60
        assert peak < 6 * 5 * SECOND < 300 * SECOND // 8

    def test_ffmpeg_prints_nothing(self, capfd: pytest.CaptureFixture[str]) -> None:
        cut(with_garbage(written(MP3)))
        cut(written(Form("mp3", "libmp3lame")) + written(Form("mp3", "libmp3lame", 22_050, "stereo")))
        for data in (b"", b"nonsense" * 1000, written(M4A)[:3000], b"#EXTM3U\nhttp://127.0.0.1/\n"):
            with pytest.raises(UnreadableError):
                cut(data)
        assert capfd.readouterr() == ("", "")

    def test_closing_half_way_lets_go_of_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "long.wav").write_bytes(wav(tones(20)))
        before = open_files()
        with (tmp_path / "long.wav").open("rb") as file:
            found = pieces(file, 0, max_seconds=5, max_bytes=0, takes=frozenset())
            next(found)
            found.close()
            assert not file.closed
        gc.collect()
        assert open_files() == before

    def test_a_failing_disk_is_no_fault_of_the_recording(self) -> None:
        class Failing(BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                raise OSError("disk")

        with pytest.raises(OSError, match="disk"):
            list(pieces(Failing(), 0, max_seconds=5, max_bytes=0, takes=frozenset()))


class Counting(BytesIO):
    """Knows how far it has been read."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.most = max(self.most, self.tell())
        return data


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("count", [0, 1, 15, 16, 4096, 4097, 320 * 2048 - 1, 320 * 2048 + 1])
def test_flac_keeps_every_sample(count: int) -> None:
    pcm = random.Random(count).randbytes(2 * count)
    assert decoded(to_flac(pcm)) == pcm

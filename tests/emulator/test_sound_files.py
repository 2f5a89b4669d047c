"""Decoding and encoding by PyAV."""

import anyio
import pytest

from app.emulator.hearing import heard
from app.emulator.sound_files import THREADS, Coding, NoSoundError, Raw, decoded, encoded, in_thread
from app.emulator.sounds import silence, spoken, tone

WAV = Coding("wav", "pcm_s16le")
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.wav\n#EXT-X-ENDLIST\n"


def words_in(levels: bytes) -> list[str]:
    return [word for word, _, _ in heard(levels)]


def interleaved(left: bytes, right: bytes) -> bytes:
    return b"".join(left[at : at + 2] + right[at : at + 2] for at in range(0, len(left), 2))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"7",
        b"Hello there\n" * 100,
        bytes(1000),
        PLAYLIST,
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        encoded(spoken("red", 16000), 16000, WAV)[:40],
        encoded(b"", 16000, WAV),
        encoded(spoken("red", 48000), 48000, Coding("flac", "flac"))[:60],
    ],
)
def test_what_is_no_sound_is_refused(data: bytes) -> None:
    with pytest.raises(NoSoundError):
        decoded(data)


def test_channels_are_heard_together_or_each_alone() -> None:
    stereo = interleaved(spoken("red", 16000), bytes(len(spoken("red", 16000))))
    raw = Raw("s16le", 16000, 2)
    assert [words_in(levels) for levels in decoded(stereo, raw).channels] == [["red"]]
    assert [words_in(levels) for levels in decoded(stereo, raw, is_mono=False).channels] == [["red"], []]


def test_seconds_are_those_of_the_sound() -> None:
    assert decoded(encoded(silence(2.5, 44100), 44100, WAV)).seconds == pytest.approx(2.5, abs=0.001)


def test_an_hour_is_heard_whole() -> None:
    minute = tone(640, 0.25, 8000) + silence(59.75, 8000)
    sound = decoded(minute * 60, Raw("s16le", 8000))
    assert sound.seconds == pytest.approx(3600, abs=0.01)
    assert [start for _, start, _ in heard(sound.channels[0])] == pytest.approx([60 * n for n in range(60)], abs=0.02)


def test_the_bit_rate_is_kept() -> None:
    pcm = spoken("one day " * 20, 22050)
    small, large = [encoded(pcm, 22050, Coding("mp3", "libmp3lame"), rate) for rate in (32000, 64000)]
    assert len(large) == pytest.approx(2 * len(small), rel=0.05)


@pytest.mark.anyio
async def test_few_threads_work_at_a_time() -> None:
    import threading

    full, extra = threading.Barrier(THREADS + 1), threading.Event()
    async with anyio.create_task_group() as tasks:
        for _ in range(THREADS):
            tasks.start_soon(in_thread, full.wait, 20)
        tasks.start_soon(in_thread, extra.set)
        await anyio.wait_all_tasks_blocked()
        assert not extra.is_set()
        await anyio.to_thread.run_sync(full.wait, 20)
    assert extra.is_set()

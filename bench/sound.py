"""A long recording: what its transcription costs the server itself.

`python -m bench.sound [HOURS]` writes an mp3 of that length, two hours unless said otherwise, in which a known word
comes every two seconds, starts the emulator and a server on loopback, each in a process of its own, has the recording
transcribed and looks whether every word came back, once, at its time. It prints the server's memory before and at its
peak, and its CPU time per hour of sound: what it spends outside of the upstream's calls. Ends by itself.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import httpx2

from app.emulator.sounds import WORDS, silence, tone
from bench.pictures import free_port

EVERY_SECONDS = 2
RATE = 16_000
SAID = [word for word in WORDS if len(word) > 1]
TICKS = os.sysconf("SC_CLK_TCK")


def words(hours: float) -> list[str]:
    return [SAID[i % len(SAID)] for i in range(round(hours * 3600 / EVERY_SECONDS))]


def record(path: Path, said: list[str]) -> None:
    """Written piece by piece, so that it costs this process no memory either."""
    from app.emulator.sounds import pitch_of

    marks = {}
    for word in set(said):
        mark = tone(pitch_of(word), 0.3, RATE)
        marks[word] = mark + silence(EVERY_SECONDS - 0.3, RATE)
    with av.open(str(path), "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=RATE, layout="mono")
        stream.bit_rate = 64_000
        resampler = av.AudioResampler("s16p", "mono", RATE, 576)
        for number, word in enumerate(said):
            pcm = marks[word]
            frame = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
            frame.sample_rate, frame.pts = RATE, number * len(pcm) // 2
            frame.planes[0].update(pcm.ljust(frame.planes[0].buffer_size, b"\0"))
            for piece in resampler.resample(frame):
                container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


def memory(pid: int, name: str) -> float:
    """Megabytes: `VmRSS` now, `VmHWM` at the peak."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(url: str, pid: int, path: Path, said: list[str], hours: float) -> None:
    with httpx2.Client(base_url=url, timeout=3600, verify=False, trust_env=False) as client:
        hello = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}]}
        for _ in range(600):
            try:
                client.post("/v1/chat/completions", json=hello)
                break
            except httpx2.TransportError:
                time.sleep(0.05)
        idle, spent, began = memory(pid, "VmRSS"), cpu_seconds(pid), time.perf_counter()
        form = {"model": "whisper-1", "response_format": "verbose_json", "timestamp_granularities[]": "word"}
        with path.open("rb") as file:
            answer = client.post("/v1/audio/transcriptions", data=form, files={"file": file})
        answer.raise_for_status()
        took, cpu, peak = time.perf_counter() - began, cpu_seconds(pid) - spent, memory(pid, "VmHWM")
    heard = answer.json()["words"]
    assert [each["word"] for each in heard] == said, "words were lost, doubled or moved"  # noqa: S101
    off = max(abs(each["start"] - number * EVERY_SECONDS) for number, each in enumerate(heard))
    print(f"{len(heard)} words, every one of them, at most {off * 1000:.0f} ms from their time")  # noqa: T201
    print(f"memory: idle {idle:.0f} MB, peak {peak:.0f} MB, {peak - idle:.0f} MB more")  # noqa: T201
    print(f"{hours:g} h took {took:.0f} s; CPU of the server {cpu / hours:.1f} s per hour of sound")  # noqa: T201


def main() -> None:
    hours = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    said = words(hours)
    upstream, port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp3"
        record(path, said)
        env = os.environ | {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "DATA_DIR": folder,
            "LOG_LEVEL": "warning",
            "CLOUDFLARE_ACCOUNT_ID": "bench",
            "CLOUDFLARE_API_TOKEN": "bench",
            "CLOUDFLARE_API_BASE_URL": f"http://127.0.0.1:{upstream}/client/v4",
        }
        emulator = subprocess.Popen([sys.executable, "-m", "app.emulator", "--port", str(upstream)])  # noqa: S603 - a number
        server = subprocess.Popen([sys.executable, "-m", "app"], env=env)
        try:
            measure(f"http://127.0.0.1:{port}", server.pid, path, said, hours)
        finally:
            for process in (server, emulator):
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()

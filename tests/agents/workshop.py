"""Workshop: where an agent works, and what it is told to do."""

import os
import subprocess
from pathlib import Path
from typing import Any

import orjson

from app.emulator.app import Emulator

PROGRAMS = Path(__file__).parent / "node_modules" / ".bin"
NOWHERE = "http://127.0.0.1:9"
ALONE = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NOWHERE),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1"),
    "DISABLE_TELEMETRY": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
}
"""Nothing is reached but this machine."""
DEADLINE_SECONDS = 180
"""Only ends an agent that hangs."""


class Workshop:
    """An empty project, and a home where the agent was never before."""

    def __init__(self, home: Path, project: Path, emulator: Emulator) -> None:
        home.mkdir()
        project.mkdir()
        self.home, self.project, self._emulator = home, project, emulator
        self.variables: dict[str, str] = {}
        """Of the agent's environment."""

    def put(self, path: str, text: str) -> None:
        """A file of the agent's settings, from the home on or, with `./`, in the project."""
        place = self.project / path if path.startswith("./") else self.home / path
        place.parent.mkdir(exist_ok=True)
        place.write_text(text)

    def run(self, *command: str, prompt: str, exit_code: int = 0) -> tuple[str, str]:
        """What the agent wrote to standard output, and to standard error, when it had read the prompt."""
        program, *arguments = command
        done = subprocess.run(  # noqa: S603 -- one of the agents that this folder pins
            [str(PROGRAMS / program), *arguments],
            input=prompt,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8"} | ALONE | self.variables,
            cwd=self.project,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        assert done.returncode == exit_code, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout.strip(), done.stderr

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The bodies that have reached Cloudflare, those without tools (titles and the like) left out."""
        bodies = [request.body for request in self._emulator.requests]
        return [body for body in bodies if isinstance(body, dict) and body.get("tools")]

    @property
    def results(self) -> list[str]:
        """What the agent's tools have answered by the last call, as the model reads it."""
        return [turn["content"] for turn in self.sent[-1]["messages"] if turn["role"] == "tool"]

    @property
    def models(self) -> set[str]:
        return {body["model"] for body in self.sent}


def asked(*steps: dict[str, Any], words: int = 0) -> str:
    """A prompt of so many words and a few, for which the emulator plays these steps."""
    return f"{'word ' * words}Please work.\n!emulate {orjson.dumps({'steps': steps}).decode()}"


def called(name: str, **arguments: Any) -> dict[str, Any]:
    """A call of a tool."""
    return {"name": name, "arguments": arguments}


def calling(*calls: dict[str, Any]) -> dict[str, Any]:
    """A step in which the model calls tools."""
    return {"text": "I work.", "reasoning": "Work.", "tool_calls": calls}


def saying(text: str) -> dict[str, Any]:
    """A step in which the model answers and calls nothing."""
    return {"text": text, "tool_calls": []}


def patch(*lines: str) -> str:
    """For notes.txt, as Codex writes it."""
    return "\n".join(("*** Begin Patch", "*** Update File: notes.txt", "@@", *lines, "*** End Patch", ""))

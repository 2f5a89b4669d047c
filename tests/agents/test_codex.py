"""Codex, set up by its recipe in the README."""

import pytest

from tests.agents.workshop import Workshop, asked, called, calling, patch, saying
from tests.recipes import snippet
from tests.serving import KEY, Server

OPTIONS = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
"""Its own sandbox does not start in every container, and the project is a folder that goes away."""


@pytest.fixture(autouse=True)
def _set_up(workshop: Workshop, server: Server) -> None:
    workshop.put(".codex/config.toml", snippet("Codex", "toml", server))
    workshop.variables = {"FLARELAY_API_KEY": KEY}


def test_it_runs_a_command_and_applies_a_patch(workshop: Workshop) -> None:
    """The tool for patches is one of those whose input is a text and no JSON."""
    prompt = asked(
        calling(called("exec_command", cmd="echo one > notes.txt && echo written")),
        calling(called("apply_patch", input=patch("-one", '+one "two"'))),
        saying("The notes are patched."),
    )
    said, _errors = workshop.run("codex", "exec", *OPTIONS, prompt=prompt)
    assert said == "The notes are patched."
    assert (workshop.project / "notes.txt").read_text() == 'one "two"\n'
    ran, patched = workshop.results
    assert ran.endswith("Output:\nwritten\n")
    assert "M notes.txt" in patched
    assert workshop.models == {"@cf/openai/gpt-oss-120b"}
    assert len(workshop.sent) == 3


def test_it_works_with_a_model_that_it_does_not_know(workshop: Workshop) -> None:
    prompt = asked(calling(called("exec_command", cmd="echo written")), saying("Done."))
    model = "@cf/zai-org/glm-4.7-flash"
    said, _errors = workshop.run("codex", "exec", "-m", model, *OPTIONS, prompt=prompt)
    assert said == "Done."
    assert workshop.results[0].endswith("Output:\nwritten\n")
    assert workshop.models == {model}


def test_it_goes_on_with_a_session(workshop: Workshop) -> None:
    tool = calling(called("exec_command", cmd="echo written"))
    workshop.run("codex", "exec", *OPTIONS, prompt=asked(tool, saying("First.")))
    resume = ("codex", "exec", "resume", "--last")
    assert workshop.run(*resume, *OPTIONS, "-", prompt=asked(saying("Second.")))[0] == "Second."
    turns = workshop.sent[-1]["messages"]
    assert [turn["role"] for turn in turns][-5:] == ["user", "assistant", "tool", "assistant", "user"]
    assert turns[-2]["content"] == "First."


def test_it_knows_that_a_prompt_is_too_long(workshop: Workshop) -> None:
    _said, errors = workshop.run("codex", "exec", *OPTIONS, prompt="word " * 150_000, exit_code=1)
    assert "ran out of room in the model's context window" in errors
    assert len(workshop.sent) == 1


def test_it_compacts_a_session_before_its_window_is_full(workshop: Workshop) -> None:
    for number, resume in enumerate(((), ("resume", "--last"), ("resume", "--last"))):
        prompt = asked(saying(f"Answer {number}."), words=60_000)
        said, _errors = workshop.run("codex", "exec", *resume, *OPTIONS, "-", prompt=prompt)
        assert said == f"Answer {number}."
    second, third = (sum(len(str(turn["content"])) for turn in body["messages"]) for body in workshop.sent[-2:])
    assert second > 600_000 > third

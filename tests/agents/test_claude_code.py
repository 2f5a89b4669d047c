"""Claude Code, set up by its recipe in the README."""

import pytest
from PIL import Image

from app.translators.turns import UNSEEN
from tests.agents.workshop import Workshop, asked, called, calling, saying
from tests.recipes import environment
from tests.serving import Server


@pytest.fixture(autouse=True)
def _set_up(workshop: Workshop, server: Server) -> None:
    workshop.variables = environment("Claude Code", server)


def test_it_reads_writes_edits_and_runs(workshop: Workshop) -> None:
    workshop.put("./plan.txt", "Count to three.\n")
    notes = workshop.project / "notes.txt"
    prompt = asked(
        calling(called("Read", file_path=str(workshop.project / "plan.txt"))),
        calling(called("Write", file_path=str(notes), content="one\n")),
        calling(
            called("Edit", file_path=str(notes), old_string="one", new_string="one two"),
            called("Bash", command="echo three > more.txt && echo written", description="Write more"),
        ),
        saying("The notes are written."),
    )
    said, _errors = workshop.run("claude", "-p", "--allowedTools", "Bash Edit Write", prompt=prompt)
    assert said == "The notes are written."
    assert notes.read_text() == "one two\n"
    assert (workshop.project / "more.txt").read_text() == "three\n"
    read, created, edited, ran = workshop.results
    assert "Count to three." in read
    assert "created successfully" in created
    assert "updated successfully" in edited
    assert ran == "written"
    assert len(workshop.sent) == 4


def test_it_is_told_what_a_tool_could_not_do(workshop: Workshop) -> None:
    prompt = asked(calling(called("Read", file_path=str(workshop.project / "absent.txt"))), saying("There is no file."))
    assert workshop.run("claude", "-p", prompt=prompt)[0] == "There is no file."
    (result,) = workshop.results
    assert "File does not exist" in result


def test_it_goes_on_with_a_session_and_another_model(workshop: Workshop) -> None:
    workshop.run("claude", "-p", prompt=asked(saying("First.")))
    assert workshop.models == {"@cf/qwen/qwen3.8-27b"}
    model = "@cf/zai-org/glm-4.7-flash"
    said, _errors = workshop.run("claude", "-p", "-c", "--model", model, prompt=asked(saying("Second.")))
    assert said == "Second."
    assert workshop.sent[-1]["model"] == model
    assert [turn["content"] for turn in workshop.sent[-1]["messages"] if turn["role"] == "assistant"] == ["First."]


def test_it_looks_at_a_picture_with_a_model_that_can_not_see(workshop: Workshop) -> None:
    path = workshop.project / "red.png"
    Image.new("RGB", (64, 64), "red").save(path)
    prompt = asked(calling(called("Read", file_path=str(path))))
    said, _errors = workshop.run("claude", "-p", "--model", "@cf/zai-org/glm-4.7-flash", prompt=prompt)
    assert said.endswith(UNSEEN)  # the emulator repeats what it was told last


def test_it_compacts_a_session_that_outgrows_the_window(workshop: Workshop) -> None:
    """Claude Code takes the window for a million tokens; that it is 262,144 it learns from the error."""
    model = "@cf/qwen/qwen3.8-27b"
    for number, options in enumerate([[], ["-c"], ["-c"]]):
        prompt = asked(saying(f"Answer {number}."), words=100_000)
        said, _errors = workshop.run("claude", "-p", "--model", model, *options, prompt=prompt)
        assert said == f"Answer {number}."
    *_earlier, refused, summary, last = workshop.sent
    assert sum(len(str(turn["content"])) for turn in refused["messages"]) > 1_500_000
    assert "<summary>" in summary["messages"][-1]["content"]
    assert sum(len(str(turn["content"])) for turn in last["messages"]) < 600_000


def test_it_says_that_a_single_prompt_is_too_long(workshop: Workshop) -> None:
    said, _errors = workshop.run("claude", "-p", prompt="word " * 300_000, exit_code=1)
    assert said.startswith("Prompt is too long")
    assert "262144" in said

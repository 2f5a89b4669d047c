"""opencode, set up by its recipe in the README."""

import pytest

from tests.agents.workshop import Workshop, asked, called, calling, saying
from tests.recipes import snippet
from tests.serving import KEY, Server


@pytest.fixture(autouse=True)
def _set_up(workshop: Workshop, server: Server) -> None:
    workshop.put("./opencode.json", snippet("opencode", "json", server))
    workshop.variables = {"FLARELAY_API_KEY": KEY}


def test_it_runs_a_command_edits_a_file_and_goes_on(workshop: Workshop) -> None:
    notes = workshop.project / "notes.txt"
    prompt = asked(
        calling(called("bash", command="echo one > notes.txt && echo written", description="Write")),
        calling(called("read", filePath=str(notes))),
        calling(called("edit", filePath=str(notes), oldString="one", newString="one two")),
        saying("The notes are edited."),
    )
    assert workshop.run("opencode", "run", prompt=prompt)[0].endswith("The notes are edited.")
    assert notes.read_text() == "one two\n"
    ran, read, edited = workshop.results
    assert ran == "written\n"
    assert "one" in read
    assert "success" in edited.lower()
    assert workshop.models == {"@cf/openai/gpt-oss-120b"}
    assert workshop.run("opencode", "run", "-c", prompt=asked(saying("Second.")))[0] == "Second."
    assert [turn["role"] for turn in workshop.sent[-1]["messages"]][-3:] == ["tool", "assistant", "user"]


def test_its_other_model(workshop: Workshop) -> None:
    model = "@cf/zai-org/glm-4.7-flash"
    prompt = asked(calling(called("bash", command="echo written", description="Write")), saying("Done."))
    assert workshop.run("opencode", "run", "-m", f"flarelay/{model}", prompt=prompt)[0].endswith("Done.")
    assert workshop.results == ["written\n"]
    assert workshop.models == {model}

"""The documents say what the code does."""

from pathlib import Path

import pytest

from app.routes.openai import ROWS
from app.settings import Settings
from docs.generate import ROOT, documents


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_generated_documents_are_up_to_date(path: Path) -> None:
    assert path.read_text() == documents()[path], "run `make docs`"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_meaning(name: str) -> None:
    assert Settings.model_fields[name].description


def test_example_environment_is_the_default_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    uncommented = [
        line.removeprefix("# ") for line in (ROOT / ".env.example").read_text().splitlines() if "=" in line[:40]
    ]
    env = tmp_path / ".env"
    env.write_text("\n".join(line for line in uncommented if line.split("=")[0].isupper()))
    assert Settings(_env_file=env) == Settings(_env_file=None)


def test_model_ids_stand_in_the_catalogue_only() -> None:
    """Everything that sets a model apart is data."""
    sources = [
        path for path in (ROOT / "app").rglob("*.py") if "emulator" not in path.parts and "catalog" not in path.parts
    ]
    named = [str(path) for path in sources if '"@cf/' in path.read_text() or '"@hf/' in path.read_text()]
    assert sources
    assert named == []


def test_the_image_installs_what_the_lock_file_pins() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes -r requirements.lock" in dockerfile
    assert "USER flarelay" in dockerfile
    assert "HEALTHCHECK" in dockerfile


@pytest.mark.parametrize("path", [path for row in ROWS for path in row.paths[:1]] + ["/v1/run/", "/v1/models"])
def test_every_endpoint_is_in_the_readme(path: str) -> None:
    assert path in (ROOT / "README.md").read_text()

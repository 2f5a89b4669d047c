"""Writes what the documents say about the code: `make docs`. With `--check` it only tells what is out of date."""

import sys
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from app.catalog import Catalog, Model
from app.settings import Settings

ROOT = Path(__file__).parent.parent

GROUPS = {
    "host": "Server",
    "api_keys": "Who may call",
    "cloudflare_account_id": "Cloudflare",
    "ai_gateway_id": "AI Gateway",
    "model_aliases": "Models",
    "remote_fetch": "Pictures and documents named by address",
    "public_base_url": "Pictures that were made",
    "max_upload_bytes": "Sound",
    "response_cache": "Answers that are kept",
    "stored_responses_max_bytes": "Responses API",
    "translate_tokens": "Translation",
    "max_body_bytes": "Limits",
}
"""The first setting of each group -> its heading."""


def documents() -> dict[Path, str]:
    """Every document with generated parts -> what it should say."""
    readme = ROOT / "README.md"
    return {
        ROOT / ".env.example": env_example(),
        ROOT / "docs" / "models.md": models_table(Catalog.load()),
        readme: _between(readme.read_text(), "settings", settings_table()),
    }


def env_example() -> str:
    lines = ["# Copy to `.env` and fill in what you need: every line that is commented out shows the default."]
    for name, field in Settings.model_fields.items():
        if name in GROUPS:
            lines += ["", f"# --- {GROUPS[name]} ---"]
        lines += [f"# {field.description}", f"# {name.upper()}={_default(field)}"]
    return "\n".join(lines) + "\n"


def settings_table() -> str:
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = _default(field)
        rows.append(f"| `{name.upper()}` | {f'`{default}`' if default else ''} | {field.description} |")
    return "\n".join(rows)


def models_table(catalog: Catalog) -> str:
    lines = [
        "# Models",
        "",
        "What the catalogue knows. While the server runs, `GET /v1/models` merges the account's own list into it.",
        "Prices are neurons per million tokens, input / cached / output. Ids that are not here work too.",
    ]
    tasks = sorted(
        {model.task for model in catalog if model.is_listed}, key=lambda task: (task != "text-generation", task)
    )
    for task in tasks:
        lines += ["", f"## {task}", "", "| model | context | can | neurons | |", "| --- | --- | --- | --- | --- |"]
        lines += [_row(model) for model in catalog if model.is_listed and model.task == task]
    retired = [model for model in catalog if model.status == "deprecated"]
    lines += ["", "## Retired", "", "Asked for by these ids, the successor answers.", ""]
    lines += ["| model | successor |", "| --- | --- |"]
    lines += [f"| `{model.id}` | `{model.replacement}` |" for model in retired]
    lines += ["", "## Other names", "", "`*` stands for any text; `MODEL_ALIASES` come before these.", ""]
    lines += ["| name | model | |", "| --- | --- | --- |"]
    lines += [
        f"| `{alias.name}` | `{alias.model}` | {_options(alias.reasoning_effort, alias.picture_model)} |"
        for alias in catalog.aliases
    ]
    return "\n".join(lines) + "\n"


def _row(model: Model) -> str:
    prices = {price.unit: price.neurons for price in model.price}
    tokens = [prices.get(unit) for unit in ("input_tokens_M", "cached_input_tokens_M", "output_tokens_M")]
    neurons = " / ".join("–" if each is None else f"{each:,.0f}" for each in tokens) if any(tokens) else ""
    other = ", ".join(f"{unit}: {neurons:g}" for unit, neurons in prices.items() if "tokens_M" not in unit)
    notes = ["beta"] * (model.status == "beta") + ["Workers Paid"] * model.requires_paid_plan
    window = f"{model.context_window:,}" if model.context_window else ""
    can = ", ".join(sorted(model.capabilities - {"streaming"}))
    return f"| `{model.id}` | {window} | {can} | {neurons or other} | {', '.join(notes)} |"


def _options(effort: str | None, picture_model: str | None) -> str:
    notes = ["thinking off"] if effort == "none" else [f"effort {effort}"] if effort else []
    return "; ".join(notes + ([f"with pictures `{picture_model}`"] if picture_model else []))


def _default(field: FieldInfo) -> str:
    default: Any = field.get_default(call_default_factory=True) if field.default_factory else field.default
    if default is None or default is PydanticUndefined or default in ((), {}):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return ",".join(default) if isinstance(default, tuple) else f"{default}"


def _between(text: str, name: str, content: str) -> str:
    start, end = f"<!-- {name}: made by `make docs` -->", f"<!-- /{name} -->"
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}\n{content}\n{end}{after}"


def main() -> int:
    stale = [path for path, text in documents().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if "--check" in sys.argv:
            print(f"{path.relative_to(ROOT)} is out of date: run `make docs`")  # noqa: T201
        else:
            path.write_text(documents()[path])
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())

"""The recipes for clients, as somebody reads them in the README and types them in."""

import re
from pathlib import Path

from tests.serving import KEY, Server

README = (Path(__file__).parent.parent / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8000"
README_KEY = "sk-choose-one"


def recipe(client: str) -> str:
    """What the README says about a client."""
    return README.partition(f"\n### {client}\n")[2].partition("\n##")[0]


def snippet(client: str, language: str, server: Server) -> str:
    """The snippet in a recipe, with the address and a key of this server typed in."""
    code = recipe(client).partition(f"```{language}\n")[2].partition("```")[0]
    assert ADDRESS in code
    return code.replace(ADDRESS, server.url).replace(README_KEY, KEY)


def environment(client: str, server: Server) -> dict[str, str]:
    """The variables that a recipe sets."""
    lines = re.findall(r"^(?:export )?([A-Z_]+)=(.*)$", snippet(client, "sh", server), re.MULTILINE)
    return dict(lines)

"""The task moderation: the conversations that a model judges, and its verdict, by words that stand for its hazards.

Source: Cloudflare's published types and the model's own list of hazards.
"""

import re

from app.emulator.checks import missing
from app.emulator.faults import bad_input
from app.emulator.run import Run
from app.emulator.samples import json_text

WORDS = {
    "S1": "kill|murder|stab|massacre|terrorist",
    "S2": "steal|fraud|launder|counterfeit|shoplift|smuggle",
    "S3": "rape|molest|sex trafficking",
    "S4": "child abuse|child exploitation|csam",
    "S5": "defame|defamation|slander|libel",
    "S6": "dosage|diagnose|medical advice|legal advice",
    "S7": "home address|social security number|doxx",
    "S8": "pirated|copyrighted|plagiarise|plagiarize",
    "S9": "bomb|explosive|nerve agent|anthrax|chemical weapon",
    "S10": "racist|racial slur|ethnic cleansing|subhuman",
    "S11": "suicide|self-harm|kill myself|hurt myself",
    "S12": "porn|erotic|nude|sexually explicit",
    "S13": "rigged election|voter fraud|ballot",
    "S14": "escape the sandbox|denial of service|privilege escalation",
}
"""Hazard -> how the words begin that give it away."""
PATTERNS = {code: re.compile(rf"\b(?:{words})", re.IGNORECASE) for code, words in WORDS.items()}
BLANKS = ("", "\n\n", "\n", " ")
GARBLED = "I can not tell what is wrong with this conversation."


def check_conversation(run: Run) -> None:
    """Raises 5006 unless user and assistant take turns, the user first."""
    if "messages" not in run.body:
        raise bad_input(missing("/", "messages"))
    for number, turn in enumerate(run.turns):
        role = turn["role"]
        if role not in ("user", "assistant"):
            raise bad_input(f"'/messages/{number}/role' must be one of 'user', 'assistant'")
        if role != ("user", "assistant")[number % 2]:
            raise bad_input("Conversation roles must alternate user/assistant/user/assistant/...")


def verdict(run: Run) -> str:
    """On the last turn, as text, or as JSON where that was asked for."""
    if "garbled-verdict" in run.quirks:
        return GARBLED
    codes = [code for code, pattern in PATTERNS.items() if pattern.search(run.question)]
    if run.json_mode:
        return json_text({"safe": not codes, "categories": codes})
    if codes:
        return f"\n\nunsafe\n{','.join(codes)}"
    return BLANKS[len(run.question) % len(BLANKS)] + "safe"

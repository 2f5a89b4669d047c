"""Findings: what came of each check, and how to mend what is not right."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"
    UNKNOWN = "not checked"


class Finding(NamedTuple):
    """What came of one check. It holds no secret."""

    check: str
    outcome: Outcome
    text: str
    remedy: str = ""

    def line(self) -> str:
        return f"{self.outcome:<12}{self.check}: {self.text}{' ' if self.remedy else ''}{self.remedy}"


def is_well(findings: Iterable[Finding]) -> bool:
    return all(finding.outcome is not Outcome.FAILED for finding in findings)

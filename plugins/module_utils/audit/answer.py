# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a module returned on a host, and whether it can be taken at its word."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_CHARACTERS = 200


def answer_of(answers: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An answer that can be taken at its word, else nothing."""
    answer = answers.get(key) or {}
    return {} if unreachable(answer) or answer.get("failed") or answer.get("skipped") else answer


def unreachable(answer: Any) -> bool:
    """Whether the host did not answer this. The network's action returns `changed` alone when it lost the host on the way."""
    if not answer:
        return True
    return bool(answer.get("unreachable")) or (bool(answer.get("changed")) and "actions" not in answer)


def errors_of(answer: Mapping[str, Any]) -> list[str]:
    """Why a module refused to go on; empty when it failed for another reason."""
    return [str(error) for key in ("errors", "obstacles") for error in answer.get(key) or []]


def one_line(text: Any) -> str:
    """A message as one line of bounded length."""
    text = " ".join(str(text or "no reason was given").split())
    return text if len(text) <= 3 * MOST_CHARACTERS else text[:3 * MOST_CHARACTERS] + " ..."


def diffs_of(answer: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Path -> {before, after}, of the files that a module would write."""
    diff = answer.get("diff")
    entries = [entry for entry in (diff if isinstance(diff, list) else [diff]) if isinstance(entry, Mapping)]
    return {entry["before_header"]: entry for entry in entries if "before_header" in entry}


def lines_only(text: str, other: str) -> str:
    """The lines of a text that another has not, on one line; "no such file" without a text, "no further line" without such lines."""
    if not text:
        return "no such file"
    there = set(other.splitlines())
    lines = "; ".join(" ".join(one.split()) for one in text.splitlines() if one.strip() and one not in there)
    return (lines if len(lines) <= MOST_CHARACTERS else lines[:MOST_CHARACTERS] + " ...") or "no further line"

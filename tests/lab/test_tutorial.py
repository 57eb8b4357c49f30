# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the README's tutorial on the lab as a reader would: every command, and every line that is shown below one."""
from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.emulation import fault_of
from tests.lab.hands import ROUNDS

ROOT = Path(__file__).resolve().parents[2]
ESTATE = ROOT / "inventories" / "lab" / "group_vars" / "all" / "estate.yml"


def steps(text: str) -> list[tuple[str, list[str]]]:
    """The commands of the `console` blocks (`$ ...`) in order, each with the lines shown below it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def comparable(text: str) -> str:
    """Without what differs from run to run: widths of columns, seconds in brackets, and numbers of two and more digits."""
    return re.sub(r"\[ \d+ s\]|\d{2,}", "N", " ".join(text.split()))


@pytest.fixture(name="estate")
def _estate() -> Iterator[Callable[[], None]]:
    """Puts back the lab's estate, which the tutorial edits."""
    before = ESTATE.read_text()

    def put_back() -> None:
        ESTATE.write_text(before)

    yield put_back
    put_back()


def follow() -> str | None:
    """Run every command; what went wrong, or None."""
    for command, shown in steps((ROOT / "README.md").read_text()):
        print(f"$ {command}", flush=True)
        result = subprocess.run(["bash", "-c", command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                timeout=1800)
        if result.returncode:
            return f"$ {command}\nends with {result.returncode}:\n{result.stdout}"
        printed = comparable(result.stdout)
        missing = [line for line in shown if comparable(line) not in printed]
        if missing:
            return f"$ {command}\ndoes not print: {missing[0]}\n{result.stdout}"
    return None


@pytest.mark.skipif(ROUNDS < 2, reason="makes the two hosts of molecule/consolidation once more, a quarter of an hour: make lab-soak")
def test_the_tutorial_says_what_happens(estate: Callable[[], None]) -> None:
    assert not (ROOT / "build" / "lab" / "lab").exists(), "the lab of `make lab` runs; end it first: make lab-down"
    assert len(steps((ROOT / "README.md").read_text())) > 10
    try:
        wrong = follow()
        fault = fault_of(ROOT, "lab")
        if wrong and fault:
            print(f"\nthe tutorial failed after a fault of the emulation ({fault}): it runs once more\n{wrong}", flush=True)
            subprocess.run(["make", "lab-down"], cwd=ROOT, timeout=300)
            estate()
            wrong = follow()
        assert wrong is None, wrong
    finally:
        subprocess.run(["make", "lab-down"], cwd=ROOT, timeout=300)

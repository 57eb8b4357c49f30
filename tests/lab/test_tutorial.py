# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the README's tutorial on the lab as a reader would: every command, and every line that is shown below one."""
from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    """Without what differs from run to run: widths of columns and numbers of two and more digits."""
    return re.sub(r"\d{2,}", "N", " ".join(text.split()))


@pytest.fixture(name="estate")
def _estate() -> Iterator[None]:
    """The tutorial edits the lab's estate."""
    before = ESTATE.read_text()
    yield
    ESTATE.write_text(before)


@pytest.mark.usefixtures("estate")
def test_the_tutorial_says_what_happens() -> None:
    assert not (ROOT / "build" / "lab" / "lab").exists(), "the lab of `make lab` runs; end it first: make lab-down"
    todo = steps((ROOT / "README.md").read_text())
    assert len(todo) > 10
    try:
        for command, shown in todo:
            print(f"$ {command}", flush=True)
            result = subprocess.run(["bash", "-c", command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                    timeout=1800)
            assert result.returncode == 0, f"$ {command}\n{result.stdout}"
            printed = comparable(result.stdout)
            for line in shown:
                assert comparable(line) in printed, f"$ {command}\ndoes not print: {line}\n{result.stdout}"
    finally:
        subprocess.run(["make", "lab-down"], cwd=ROOT, timeout=300)

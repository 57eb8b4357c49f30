# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the molecule scenarios on real Xen hosts in QEMU; `make lab-test` calls it."""
from __future__ import annotations

import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.lab.emulation import fault_of
from tests.lab.hands import ROUNDS

ROOT = Path(__file__).resolve().parents[2]
MOLECULE = str(Path(sys.executable).parent / "molecule")
# Each has two hosts, which fill two cores, or changes that must be confirmed in time.
SCENARIOS = ("network", "consolidation")
# Each has one host, so two of them run at a time: one from each row, in this order.
SIDE_BY_SIDE = (("dom0",), ("powercut",))
# Long: with make lab-soak alone.
LONG = ("ifupdown", "storage", "uefi", "mdroot", "passthrough")
LOGS = ROOT / "build" / "scenarios"
LAST_LINES = 300
# What ansible, pytest and molecule write where something went wrong, and the lines after it that say what.
REASON = re.compile(r"fatal: |failed: \[|\[ERROR\]|(?:^|│ )(?:E  |FAILED )|: Failed$|Traceback")
REASON_LINES = 30
# What a test printed as a table, how each test ended and how long it took.
RESULT = re.compile(r"^(?:│ )?(?:\| .* \||\|( --- \|)+|[0-9.]+s (?:setup|call|teardown) .*|=+ .* in [0-9.]+s.*=+)$")
COLOUR = re.compile(r"\x1b\[[\d;]*m")
SCENARIO_SECONDS = 3600 * ROUNDS


def run(scenario: str, log: Path) -> tuple[int, str | None]:
    """The return code of a scenario, and the fault of the emulation that was seen on its hosts, if any. log: takes what it says."""
    with log.open("ab") as output:
        # A session of its own: at the end of its time molecule is ended with everything that it has started.
        words = [MOLECULE, "test", "-s", scenario, "--destroy", "never"]
        process = subprocess.Popen(words, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        code = process.wait(timeout=SCENARIO_SECONDS)
        return code, fault_of(ROOT, scenario)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        # Each scenario has a lab of its own name; that of `make lab` is left alone. What this says is not what a fault is sought in.
        for words in ([MOLECULE, "destroy", "-s", scenario], [sys.executable, "-m", "lab", "--name", scenario, "down"]):
            subprocess.run(words, cwd=ROOT, timeout=300, capture_output=True)


def passes(scenario: str, log: Path) -> bool:
    """Whether a scenario passes, at the second try when the emulation was at fault at the first."""
    code, fault = run(scenario, log)
    if code and fault:
        print(f"\nscenario {scenario} failed after a fault of the emulation ({fault}): it runs once more", flush=True)
        code, fault = run(scenario, log)
    return code == 0


def reasons(lines: Sequence[str], most: int = 120, width: int = 400) -> list[str]:
    """The last lines of an output that say what went wrong, few enough to be read at the end of a long log."""
    plain = [COLOUR.sub("", line)[:width] for line in lines]
    wanted = sorted({at for begin, line in enumerate(plain) if REASON.search(line) for at in range(begin, begin + REASON_LINES)})
    return [plain[at] for at in wanted if at < len(plain)][-most:]


def results(lines: Sequence[str]) -> list[str]:
    """What is worth to be read of the output of a scenario that passed."""
    return [line for line in (COLOUR.sub("", line) for line in lines) if RESULT.search(line)]


def row(scenarios: Sequence[str]) -> list[str]:
    """Run scenarios one after the other; those that fail, with the end of what they said."""
    failed = []
    LOGS.mkdir(parents=True, exist_ok=True)
    for scenario in scenarios:
        log = LOGS / f"{scenario}.log"
        log.unlink(missing_ok=True)
        print(f"\nscenario {scenario} begins, see {log}", flush=True)
        begun = time.monotonic()
        good = passes(scenario, log)
        print(f"\nscenario {scenario}: {'passed' if good else 'failed'} in {time.monotonic() - begun:.0f} s", flush=True)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        if good:
            print("\n".join(results(lines)), flush=True)
        else:
            print("\n".join(lines[-LAST_LINES:]), flush=True)
            failed.append("\n".join([f"scenario {scenario} failed; of {log}:", *reasons(lines)]))
    return failed


def test_scenarios_of_one_host() -> None:
    with concurrent.futures.ThreadPoolExecutor(len(SIDE_BY_SIDE)) as pool:
        rows = []
        for scenarios in SIDE_BY_SIDE:
            rows.append(pool.submit(row, scenarios))
            # Molecule's own folders are made by the first that needs them.
            time.sleep(10)
        failed = [text for one in rows for text in one.result()]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("scenario", SCENARIOS + (LONG if ROUNDS > 1 else ()))
def test_scenario(scenario: str) -> None:
    failed = row([scenario])
    assert not failed, failed[0]

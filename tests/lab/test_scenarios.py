# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the molecule scenarios on real Xen hosts in QEMU; `make lab-test` calls it."""
from __future__ import annotations

import concurrent.futures
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
LAST_LINES = 300
# What ansible, pytest and molecule write where something went wrong, and the lines after it that say what.
REASON = re.compile(r"fatal: |failed: \[|\[ERROR\]|(?:^|│ )(?:E  |FAILED )|: Failed$|Traceback")
REASON_LINES = 30
COLOUR = re.compile(r"\x1b\[[\d;]*m")
SCENARIO_SECONDS = 3600 * ROUNDS


def run(scenario: str, log: Path | None = None) -> tuple[int, str | None]:
    """The return code of a scenario, and the fault of the emulation that was seen on its hosts, if any. log: takes what it says."""
    with contextlib.ExitStack() as stack:
        output = None if log is None else stack.enter_context(log.open("ab"))
        say: dict[str, Any] = {"cwd": ROOT, "stdout": output, "stderr": None if output is None else subprocess.STDOUT}
        # A session of its own: at the end of its time molecule is ended with everything that it has started.
        process = subprocess.Popen([MOLECULE, "test", "-s", scenario, "--destroy", "never"], start_new_session=True, **say)
        try:
            code = process.wait(timeout=SCENARIO_SECONDS)
            return code, fault_of(ROOT, scenario)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            # Each scenario has a lab of its own name; that of `make lab` is left alone.
            subprocess.run([MOLECULE, "destroy", "-s", scenario], timeout=300, **say)
            subprocess.run([sys.executable, "-m", "lab", "--name", scenario, "down"], timeout=300, **say)


def passes(scenario: str, log: Path | None = None) -> bool:
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


def row(scenarios: Sequence[str], folder: Path) -> list[str]:
    """Run scenarios one after the other; those that fail, with the end of what they said."""
    failed = []
    for scenario in scenarios:
        log = folder / f"{scenario}.log"
        log.unlink(missing_ok=True)
        begun = time.monotonic()
        good = passes(scenario, log)
        print(f"\nscenario {scenario}: {'passed' if good else 'failed'} in {time.monotonic() - begun:.0f} s, see {log}", flush=True)
        if not good:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            print("\n".join(lines[-LAST_LINES:]), flush=True)
            failed.append("\n".join([f"scenario {scenario} failed; of {log}:", *reasons(lines)]))
    return failed


def test_scenarios_of_one_host() -> None:
    folder = ROOT / "build" / "scenarios"
    folder.mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(len(SIDE_BY_SIDE)) as pool:
        rows = []
        for scenarios in SIDE_BY_SIDE:
            rows.append(pool.submit(row, scenarios, folder))
            # Molecule's own folders are made by the first that needs them.
            time.sleep(10)
        failed = [text for one in rows for text in one.result()]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("scenario", SCENARIOS + (LONG if ROUNDS > 1 else ()))
def test_scenario(scenario: str) -> None:
    assert passes(scenario), f"scenario {scenario} failed; its output is above"

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the molecule scenarios on real Xen hosts in QEMU, one after the other; `make lab-test` calls it."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.emulation import fault_of

ROOT = Path(__file__).resolve().parents[2]
MOLECULE = str(Path(sys.executable).parent / "molecule")
SCENARIOS = ("network", "consolidation", "dom0", "powercut", "faults")
# Long: with make lab-soak alone.
LONG = ("ifupdown", "storage")
ROUNDS = int(os.environ.get("XENFOLD_SOAK", "1"))


def run(scenario: str) -> tuple[int, str | None]:
    """The return code of a scenario, and the fault of the emulation that was seen on its hosts, if any."""
    # A session of its own: at the end of its time molecule is ended with everything that it has started.
    process = subprocess.Popen([MOLECULE, "test", "-s", scenario, "--destroy", "never"], cwd=ROOT, start_new_session=True)
    try:
        code = process.wait(timeout=3000)
        return code, fault_of(ROOT, scenario)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        # Each scenario has a lab of its own name; that of `make lab` is left alone.
        subprocess.run([MOLECULE, "destroy", "-s", scenario], cwd=ROOT, timeout=300)
        subprocess.run([sys.executable, "-m", "lab", "--name", scenario, "down"], cwd=ROOT, timeout=300)


@pytest.mark.parametrize("scenario", SCENARIOS + (LONG if ROUNDS > 1 else ()))
@pytest.mark.parametrize("number", range(ROUNDS))
def test_scenario(scenario: str, number: int) -> None:
    code, fault = run(scenario)
    if code and fault:
        print(f"\nscenario {scenario} failed after a fault of the emulation ({fault}): it runs once more", flush=True)
        code, fault = run(scenario)
    assert code == 0, f"scenario {scenario} failed in round {number + 1}; its output is above"

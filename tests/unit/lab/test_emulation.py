# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A test that fails after a fault of the emulation runs once more, from its fixtures on; any other failure counts."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CONFTEST = """
from pathlib import Path
import pytest
from tests.lab.emulation import OnceMore

LOG = Path(__file__).parent / "build" / "lab" / "pair" / "xen02" / "serial.log"

def pytest_configure(config):
    config.pluginmanager.register(OnceMore(Path(__file__).parent, "pair"))

@pytest.fixture
def host():
    # Each start of a host begins a new log.
    LOG.parent.mkdir(parents=True, exist_ok=True)
    LOG.write_text("(XEN) all well\\n")
    starts = LOG.with_name("starts")
    starts.write_text(str(int(starts.read_text()) + 1 if starts.exists() else 1))
    return int(starts.read_text())

@pytest.fixture
def log():
    return LOG
"""


FAULT = "(XEN) d2v0 Triple fault - invoking HVM shutdown action 1"


@pytest.mark.parametrize(("console", "always", "mark", "outcome"), [
    (FAULT, False, "", "1 passed, 1 rerun in"),
    (FAULT, True, "", "1 failed, 1 rerun in"),
    (FAULT, True, "@pytest.mark.flaky(reruns=2, only_rerun=['EmulationFault'])", "1 failed, 2 rerun in"),
    ("(XEN) all well", False, "", "1 failed in"),
], ids=["fault", "fault-twice", "fault-thrice", "other"])
def test_one_more_try(tmp_path: Path, console: str, always: bool, mark: str, outcome: str) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_it.py").write_text(f"""
import pytest
{mark}
def test_it(host, log):
    if host == 1 or {always}:
        log.write_text({console!r})
        assert False, "a guest was started anew"
""", encoding="utf-8")
    words = [sys.executable, "-m", "pytest", "-rA", f"--rootdir={tmp_path}", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(words, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True, timeout=60)
    assert outcome in done.stdout
    assert ("the emulation was at fault: xen02: (XEN) d2v0 Triple fault" in done.stdout) == (console == FAULT), done.stdout

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a long log of a scenario is cut down to."""
from __future__ import annotations

from tests.lab.test_scenarios import REASON_LINES, reasons, results

PASSED = """\
TASK [Look] ****
ok: [xen01]
\x1b[32mtest_moves.py::test_moves PASSED\x1b[0m
---- Captured stdout call ----
| move | guest |
| --- | --- |
| 1 | live01 |
live01 said 1 to 7
============ slowest durations ============
812.31s call     test_moves.py::test_moves
\x1b[32m====== \x1b[32m\x1b[1m1 passed\x1b[0m, \x1b[33m3 skipped\x1b[0m in 813.00s (0:13:33)\x1b[0m =====
"""


def test_results_are_tables_durations_and_the_sum() -> None:
    assert results(PASSED.splitlines()) == [
        "| move | guest |", "| --- | --- |", "| 1 | live01 |", "812.31s call     test_moves.py::test_moves",
        "====== 1 passed, 3 skipped in 813.00s (0:13:33) ====="]


def test_reasons_are_what_failed_and_the_lines_after_it() -> None:
    fatal = "fatal: [xen01]: FAILED! => {}"
    lines = ["ok: [xen01]"] * 50 + [f"\x1b[31m{fatal}\x1b[0m"] + ["after"] * 50 + ["E   assert 1 == 2"]
    assert reasons(lines) == [fatal, *["after"] * (REASON_LINES - 1), "E   assert 1 == 2"]
    assert reasons(lines, most=1) == ["E   assert 1 == 2"]
    assert reasons(["ok: [xen01]"]) == []

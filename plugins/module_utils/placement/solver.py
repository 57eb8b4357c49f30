# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HiGHS, silent and deterministic: one thread, a fixed seed, bounded by nodes and never by time."""
from __future__ import annotations

import os
import sys

import highspy

_greeted = False


def new_solver(**options: bool | float | int) -> highspy.Highs:
    """A solver with options of HiGHS beyond these."""
    solver = _silently()
    for option, value in {"output_flag": False, "threads": 1, "random_seed": 0, "mip_rel_gap": 0.0, **options}.items():
        solver.setOptionValue(option, value)
    return solver


def _silently() -> highspy.Highs:
    """The first solver of a process greets on standard output, which belongs to the module's answer; options come too late for that."""
    global _greeted  # noqa: PLW0603
    if _greeted:
        return highspy.Highs()
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        solver = highspy.Highs()
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
    _greeted = True
    return solver

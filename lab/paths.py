# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the lab keeps things: the cache of the user, the run folder of a lab in the checkout."""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
RECIPE = Path(__file__).resolve().parent / "recipe"


def cache_root() -> Path:
    """`$XENFOLD_LAB_CACHE`, else `~/.cache/xenfold-lab`."""
    named = os.environ.get("XENFOLD_LAB_CACHE")
    return Path(named).expanduser().absolute() if named else Path.home() / ".cache" / "xenfold-lab"


def labs_root() -> Path:
    return CHECKOUT / "build" / "lab"


def run_folder(name: str) -> Path:
    return labs_root() / name

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from pathlib import Path

import pytest

from lab import state
from lab.spec import Spec
from lab.state import Lab


@pytest.fixture
def labs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Labs of a test live in a folder of its own, as does the cache."""
    folder = tmp_path / "build" / "lab"
    folder.mkdir(parents=True)
    monkeypatch.setattr("lab.paths.labs_root", lambda: folder)
    for module in ("lab.state.run_folder", "lab.labs.run_folder"):
        monkeypatch.setattr(module, lambda name: folder / name)
    for module in ("lab.state.labs_root", "lab.labs.labs_root"):
        monkeypatch.setattr(module, lambda: folder)
    monkeypatch.setenv("XENFOLD_LAB_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def lab(labs_folder: Path) -> Lab:
    """A lab of two hosts that was made and never started."""
    return state.new_lab("t", Spec(), "tcg", "bookworm-0")

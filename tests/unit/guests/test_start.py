# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guests that are started one after another, of which some cannot be."""
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import apply
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.start import GuestError


def test_one_that_cannot_be_started_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def start(_xl, guest, path, _wait_seconds):
        asked.append((guest["name"], path))
        if guest["name"] != "b":
            raise GuestError(f"guest {guest['name']!r}: xl create failed")

    monkeypatch.setattr(apply, "start", start)
    for name in "ab":
        (tmp_path / f"{name}.before").touch()
    places = SimpleNamespace(config=lambda name: f"{tmp_path}/{name}.cfg")
    with pytest.raises(GuestError) as raised:
        apply.start_all(None, [{"name": name} for name in "abc"], places, 60)
    assert asked == [(name, f"{tmp_path}/{name}.cfg") for name in "abc"]
    assert str(raised.value) == (f"guest 'a': xl create failed. What it ran with before is still there: xl create {tmp_path}/a.before;"
                                 " guest 'c': xl create failed")
    # What the one that runs with its new configuration had before is of no more use.
    assert [path.name for path in tmp_path.iterdir()] == ["a.before"]

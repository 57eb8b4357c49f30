# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which guests some process of this host moves right now, and which receivers work."""
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import trust

PROC = "/proc"


def look() -> tuple[list[str], list[int]]:
    """The guests that some `xl migrate`, or our program around it, moves away, and the numbers of the `xl migrate-receive` that work.

    A receiver whose guest runs stays as its monitor, with /dev/null as its input; one at work has the stream there.
    """
    moving, receiving = _programs()
    return sorted(moving), receiving


class Watch:
    """Which guests are under way, for a caller that asks every second. A look at all processes costs, so it is taken only when the program
    of one of them is gone, or was never seen."""

    def __init__(self) -> None:
        self._programs: dict[str, tuple[Path, bytes]] = {}

    def under_way(self, guests: Sequence[str]) -> list[str]:
        """Those of these guests that some program moves away."""
        if not all(self._lives(guest) for guest in guests):
            self._programs, _receiving = _programs()
        return [guest for guest in guests if guest in self._programs]

    def _lives(self, guest: str) -> bool:
        # By its words, since its number may be another's by now.
        path, words = self._programs.get(guest, (None, b""))
        try:
            return path is not None and path.read_bytes() == words
        except OSError:
            return False


def _programs() -> tuple[dict[str, tuple[Path, bytes]], list[int]]:
    """Guest -> a process that moves it, as the file of its words and what is in it; and the numbers of the receivers that work."""
    moving: dict[str, tuple[Path, bytes]] = {}
    receiving = []
    for entry in sorted(Path(PROC).glob("[0-9]*")):
        try:
            path = entry / "cmdline"
            found = path.read_bytes()
            words = found.decode(errors="replace").rstrip("\0").split("\0")
            at = next((index for index, word in enumerate(words[:2]) if os.path.basename(word) == "xl"), None)
            verb = words[at + 1] if at is not None and len(words) > at + 1 else ""
            if verb == "migrate" and len(words) > 3:
                moving[words[-2]] = path, found
            elif verb == "migrate-receive" and os.readlink(entry / "fd" / "0") != "/dev/null":
                receiving.append(int(entry.name))
            elif set(trust.PROGRAMS) & set(words[1:]):
                moving[os.path.basename(words[-1]).removesuffix(".json")] = path, found
        except OSError:
            continue  # It ended while it was looked at.
    return moving, receiving

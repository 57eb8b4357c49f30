# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What systemd tells of its units."""
from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner


def show(runner: Runner, properties: str, *units: str, options: Sequence[str] = ()) -> list[dict[str, str]]:
    """The properties of each unit, in the order of the units. properties: names with commas; options: further ones of `systemctl show`."""
    text = runner.read(["systemctl", "show", *options, f"--property={properties}", *units]).out
    return [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in text.split("\n\n")]

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names of volumes' devices in the device mapper."""
from __future__ import annotations

LARGEST = 127
"""Characters of such a name (DM_NAME_LEN of Linux, without its end)."""


def mapped(volume_group: str, volume: str) -> str:
    """The name of a volume's device."""
    return "-".join(part.replace("-", "--") for part in (volume_group, volume))

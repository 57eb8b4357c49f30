# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an audit finds."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Finding:
    """One thing on a host that is not as it should be. kind: a key of findings.KINDS; item: the thing; message: for a person."""

    host: str
    kind: str
    item: str
    found: str
    wanted: str
    message: str

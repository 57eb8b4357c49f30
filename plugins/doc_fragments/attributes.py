# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations


class ModuleDocFragment:
    """What every module of the collection promises of check mode and diffs."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return the changes that it would make, without making them.
    support: full
  diff_mode:
    description: Returns what changes, before and after, when in diff mode.
    support: full
"""

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations


class ModuleDocFragment:
    """What the filters keep_running and left_out take (plugin_utils/found_hosts.py)."""

    DOCUMENTATION = r"""
positional: found, guests, stored, unknown, new
options:
  _input:
    description: A problem of P(xenfold.consolidation.placement#module), as M(xenfold.consolidation.estate) returns it.
    type: dict
    required: true
  found:
    description: What hosts have, as host -> guest -> state; the guests are those that M(xenfold.consolidation.xl_guest_info) returns.
    type: dict
    required: true
  guests:
    description: Definitions of the guests of the estate by name.
    type: dict
    default: {}
  stored:
    description: What hosts have stored, as host -> what M(xenfold.consolidation.xl_guest_info) returned.
    type: dict
    default: {}
  unknown:
    description: Hosts that told nothing, and may have guests' disks. One that was emptied and shut down is none.
    type: list
    elements: str
    default: []
  new:
    description: Guests that are new, although there are hosts in O(unknown).
    type: list
    elements: str
    default: []
"""

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a host is fit for guests after maintenance: the audit's own findings on it, those that concern arrays, bonds and Xen. Pure."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.answer import one_line, unreachable
from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.findings import findings_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.host_state.read import CPU_FEATURES
from ansible_collections.xenfold.consolidation.plugins.module_utils.md.arrays import array_uuid

GRAVE = ("array_degraded", "bond_aggregate", "bond_link", "bond_partner", "capacity", "failed", "guard")
TRIFLES = (CPU_FEATURES, "whether Xen waits for a reboot")
"""What no guest needs to know of a host."""


def unfit(host: str, told: Mapping[str, Any], info: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Why no guest is to go to a host, one line each.

    told, info: what the modules xl_move_info (empty: it did not answer) and host_info returned there; wanted: as for audit.findings.audit,
    and `bonds`: network_bonds; both sound.
    """
    if not told or unreachable(info):
        return [f"host {host!r}: it does not answer{': ' + one_line(info['msg']) if info.get('msg') else ''}"]
    lines = [] if told.get("xen") else [f"host {host!r}: Xen does not run; boot it with Xen"]
    lines += [f"host {host!r}: {finding.message}" for finding in findings_of(host, {"host": info, "wanted": wanted})
              if finding.kind in GRAVE]
    waits = {entry["what"]: one_line(entry["why"]) for entry in info.get("unasked", ()) if entry["what"] not in TRIFLES}
    lines += [f"host {host!r}: {what} could not be asked: {why}" for what, why in sorted(waits.items())]
    there = {array["uuid"] for array in info.get("arrays", ())}
    for array in wanted.get("arrays") or ():
        if str(array.get("uuid") or array_uuid(host, str(array["name"]))) not in there:
            lines.append(f"host {host!r}: array {array['name']} does not run")
    bonds = {bond["name"] for bond in info.get("bonds", ())}
    return lines + [f"host {host!r}: bond {bond['name']} is not there" for bond in wanted.get("bonds") or () if bond["name"] not in bonds]

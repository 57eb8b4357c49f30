# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""LVM of the host that this runs on: what is there, and whether its filter holds."""
from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import volumes as lvm
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import ModuleLike, Runner


def read(runner: Runner) -> lvm.Present:
    """Ask LVM; a host without it has nothing."""
    if not runner.tool("vgs"):
        return lvm.Present({}, {}, {})
    def real(name: str) -> str:
        # `[unknown]` is one whose device is missing.
        return os.path.realpath(name) if name.startswith("/") else name

    groups = lvm.rows(runner.read(["vgs", *lvm.REPORT, "vg_name,vg_free,vg_extent_size"]).out, "vg")
    physical = lvm.rows(runner.read(["pvs", *lvm.REPORT, "pv_name,vg_name,pv_size,dev_size,pe_start"]).out, "pv")
    volumes = lvm.rows(runner.read(["lvs", *lvm.REPORT, "vg_name,lv_name,lv_size"]).out, "lv")
    return lvm.Present(
        {row["vg_name"]: (int(row["vg_free"]), int(row["vg_extent_size"])) for row in groups},
        {real(row["pv_name"]): row["vg_name"] for row in physical},
        {f"{row['vg_name']}/{row['lv_name']}": int(row["lv_size"]) for row in volumes},
        # A device that is missing has no size.
        {real(row["pv_name"]): int(row["dev_size"] or 0) - int(row["pe_start"] or 0) - int(row["pv_size"] or 0)
         for row in physical if row["vg_name"]},
    )


def stripes(devices: Iterable[str]) -> dict[str, int]:
    """Kernel device -> bytes of a full stripe (chunk x data disks), as md and RAID cards tell it; 0 where there is none."""
    found = {}
    for device in devices:
        try:
            found[device] = int((Path("/sys/class/block") / os.path.basename(device) / "queue/optimal_io_size").read_text())
        except (OSError, ValueError):
            found[device] = 0
    return found


def verify_filter(module: ModuleLike, runner: Runner, patterns: Sequence[str]) -> None:
    """End the module unless LVM itself says that the patterns are in force, before any volume is made."""
    # 5: the setting is in no file.
    answer = runner.read(["lvmconfig", "devices/global_filter"], ok=(0, 5))
    found = lvm.patterns_in(answer.out)
    if found != list(patterns):
        module.fail_json(
            msg=f"No volume was changed. LVM does not follow {lvm.FILTER_FILE}: lvmconfig devices/global_filter says"
                f" {', '.join(found or []) or 'nothing'}; wanted is {', '.join(patterns)}",
        )

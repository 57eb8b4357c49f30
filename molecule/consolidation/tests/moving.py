# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A guest that counts and can move live, and the playbooks that move it."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from scene import ESTATE, HOSTS, Scene

from tests.lab.hands import Run

# Without a disk it can move while there is no storage that both hosts have.
GUEST, ADDRESS = "live01", "10.9.0.61"
WORKLOAD = {
    "name": GUEST, "type": "pvh", "vcpus": 1, "memory_mib": 96, "tsc_mode": "native", "autostart": 10, "storage": "shared",
    "networks": [{"bridge": "xenbr0"}], "demand": {"cpu_cores": 0.1, "network_mbps": 2},
    "boot": {"image": "lab", "cmdline": f"console=hvc0 name={GUEST} ip={ADDRESS}/24"},
}


def wanted(scene: Scene, to: str, current: str | None = None) -> dict[str, Any]:
    """The lab's estate with one more guest, which is to be on one host; the others stay where they are."""
    estate = yaml.safe_load(ESTATE.read_text(encoding="utf-8"))
    workloads = [{**workload, "current": scene.guests[workload["name"]]} for workload in estate["estate_workloads"]]
    workloads.append(WORKLOAD | ({"current": current} if current else {}))
    rules = [*estate["estate_rules"], {"rule": "fence", "workloads": [GUEST], "hosts": [to]}]
    return {"estate_workloads": workloads, "estate_rules": rules, "estate_policy": {"objective": "hosts", "max_moves": 1}}


def where_on(scene: Scene, host: str) -> list[str]:
    """The domains of a host that are the guest, under any name."""
    return sorted(name for name in scene.domains(host) if name.startswith(GUEST))


def where(scene: Scene) -> dict[str, list[str]]:
    """The same of each host."""
    return {host: where_on(scene, host) for host in HOSTS}


def apply(scene: Scene, settings: dict[str, Any], *words: str) -> Run:
    return scene.play_all("apply", settings, *words, folder="moves")


def plan(scene: Scene, settings: dict[str, Any]) -> None:
    scene.good("plan", settings, folder="moves")


def begin(scene: Scene, more: Mapping[str, Any] | None = None) -> None:
    """One more guest on xen01, which counts. more: settings beside those of the estate."""
    settings = {**wanted(scene, "xen01"), **(more or {})}
    plan(scene, settings)
    done = apply(scene, settings)
    assert done.rc == 0, done.text
    assert where(scene) == {"xen01": [GUEST], "xen02": []}
    scene.wait("xen01", f"grep -q 'count 5' /var/log/xen/console/guest-{GUEST}.log", 120)

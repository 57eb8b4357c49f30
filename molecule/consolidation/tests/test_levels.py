# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host has less of a CPU than the other: a guest that starts under the pool's level moves both ways, and the audit names what differs."""
from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from moving import GUEST, apply, begin, plan, wanted, where
from scene import HOSTS, Scene

from lab import faults
from tests.lab.hands import ROUNDS

# Of the same name to QEMU and to Xen, and of those that QEMU emulates.
LESS = ("bmi1", "bmi2")


def differing(scene: Scene, settings: dict[str, Any]) -> dict[str, str]:
    """Host -> what an audit says of its CPU."""
    folder = scene.folder / "levels"
    scene.play("playbooks/audit.yml", "both", ("-e", f"plan_dir={folder}"), settings, limit=False)
    report = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    return {host: found["message"] for host, told in report["hosts"].items() for found in told["findings"] if found["kind"] == "cpu_level"}


@pytest.mark.skipif(ROUNDS < 2, reason="takes fifteen minutes: make lab-soak")
def test_a_guest_moves_between_unequal_cpus_under_a_level(fresh: Scene) -> None:
    rich, poor = HOSTS
    faults.power_off(fresh.lab, poor)
    fresh.drop_connections()
    faults.power_on(fresh.lab, [poor], without=LESS)
    fresh.wait(poor, "systemctl is-active -q xendomains", 300, "systemctl status --no-pager -l xendomains")
    told = differing(fresh, {})
    assert set(told) == {rich} and all(name in told[rich] for name in LESS), told

    file = fresh.folder / "levels" / "cpu_levels.yml"
    made = fresh.play("playbooks/level.yml", "both", ("-e", f"level_file={file}"), limit=False)
    assert made.rc == 0, made.text
    levels = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert differing(fresh, levels) == {}

    begin(fresh, levels)
    fresh.holds(rich, f"grep -q '^cpuid *= *\\[' /etc/xen/guests/{GUEST}.cfg")
    for here, there in ((rich, poor), (poor, rich)):
        settings = {**wanted(fresh, there, here), **levels}
        plan(fresh, settings)
        done = apply(fresh, settings)
        assert done.rc == 0, done.text
        assert where(fresh) == {here: [], there: [GUEST]}
        fresh.counts_on(there, GUEST)

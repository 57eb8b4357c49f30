# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A guest that counts moves between the hosts by a plan: no number is skipped or said twice."""
from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from scene import ESTATE, HOSTS, Scene

from tests.lab.hands import ROUNDS

# Without a disk it can move while there is no storage that both hosts have.
GUEST, ADDRESS = "live01", "10.9.0.61"
WORKLOAD = {
    "name": GUEST, "type": "pvh", "vcpus": 1, "memory_mib": 128, "tsc_mode": "native", "autostart": 10, "storage": "shared",
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


def counted(scene: Scene) -> list[int]:
    """All numbers that the guest has said on the consoles of both hosts, in the order in which they were said."""
    said: list[tuple[str, int]] = []
    for host in HOSTS:
        text = scene.run(host, f"cat /var/log/xen/console/guest-{GUEST}*.log 2>/dev/null; true")
        # The guest's kernel may say something in the same line.
        said += [(found[1], int(found[2])) for found in re.finditer(r"^\[(.*?)\].*?\bcount (\d+)", text, re.MULTILINE)]
    return [number for _time, number in sorted(said)]


def where(scene: Scene) -> dict[str, list[str]]:
    """Host -> the domains there that are the guest, under any name."""
    return {host: sorted(name for name in scene.domains(host) if name.startswith(GUEST)) for host in HOSTS}


def apply(scene: Scene, settings: dict[str, Any], *words: str) -> Any:
    return scene.play("playbooks/apply.yml", "both", ("-e", f"plan_dir={scene.folder}/moves", *words), settings, timeout=1200, limit=False)


def plan(scene: Scene, settings: dict[str, Any]) -> None:
    done = scene.play("playbooks/plan.yml", "both", ("-e", f"plan_dir={scene.folder}/moves"), settings, limit=False)
    assert done.rc == 0, done.text


@pytest.fixture(name="moving", scope="module")
def _moving(converged: Scene) -> Iterator[Scene]:
    """The pair with one more guest on xen01."""
    settings = wanted(converged, "xen01")
    plan(converged, settings)
    done = apply(converged, settings)
    assert done.rc == 0, done.text
    assert where(converged) == {"xen01": [GUEST], "xen02": []}
    converged.wait("xen01", f"grep -q 'count 5' /var/log/xen/console/guest-{GUEST}.log", 120)
    yield converged


@pytest.mark.skipif(ROUNDS < 2, reason="takes ten minutes: make lab-soak")
def test_a_guest_moves_there_and_back_and_misses_nothing(moving: Scene) -> None:
    here, there = HOSTS
    for number in range(2 * ROUNDS):
        settings = wanted(moving, there, here)
        plan(moving, settings)
        if number == 0:
            shown = apply(moving, settings, "--check", "--diff")
            assert shown.rc == 0 and f"{GUEST} from {here} to {there}" in shown.text, shown.text
            assert where(moving)[here] == [GUEST]
        done = apply(moving, settings)
        assert done.rc == 0, done.text
        assert where(moving) == {here: [], there: [GUEST]}
        moving.holds(there, f"test -L /etc/xen/auto/10-{GUEST}", f"test -e /etc/xen/guests/{GUEST}.cfg")
        moving.holds(here, f"! test -L /etc/xen/auto/10-{GUEST}", f"! test -e /etc/xen/guests/{GUEST}.cfg")
        moving.wait(here, f"ping -n -c 1 -W 5 {ADDRESS}", 60, "ip neigh; bridge fdb show br xenbr0")
        if number == 0:
            again = apply(moving, settings)
            assert (again.rc, set(again.changed.values())) == (0, {0}), again.text
        here, there = there, here
    numbers = counted(moving)
    assert len(numbers) > 20
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A guest that counts moves between the hosts by plans: no number is skipped or said twice, and no memory is lost on either host."""
from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from scene import ESTATE, HOSTS, Scene

from tests.lab.hands import ROUNDS

MOVES = 5 if ROUNDS == 1 else 10 * ROUNDS
PINGS = "/run/moves-pings"
# What Xen may keep for itself beyond what it had: page tables of dom0, event channels.
LOST_MIB = 8
# Without a disk it can move while there is no storage that both hosts have.
GUEST, ADDRESS = "live01", "10.9.0.61"
WORKLOAD = {
    "name": GUEST, "type": "pvh", "vcpus": 1, "memory_mib": 64, "tsc_mode": "native", "autostart": 10, "storage": "shared",
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
    """All numbers that the guest has said on the consoles of both hosts, sorted: the hosts' clocks need not agree to the second."""
    said: list[int] = []
    for host in HOSTS:
        text = scene.run(host, f"cat /var/log/xen/console/guest-{GUEST}*.log 2>/dev/null; true")
        # The guest's kernel may say something in the same line.
        said += [int(found) for found in re.findall(r"\bcount (\d+)", text)]
    return sorted(said)


def where(scene: Scene) -> dict[str, list[str]]:
    """Host -> the domains there that are the guest, under any name."""
    return {host: sorted(name for name in scene.domains(host) if name.startswith(GUEST)) for host in HOSTS}


def apply(scene: Scene, settings: dict[str, Any], *words: str) -> Any:
    return scene.play("playbooks/apply.yml", "both", ("-e", f"plan_dir={scene.folder}/moves", *words), settings, timeout=1200, limit=False)


def plan(scene: Scene, settings: dict[str, Any]) -> None:
    done = scene.play("playbooks/plan.yml", "both", ("-e", f"plan_dir={scene.folder}/moves"), settings, limit=False)
    assert done.rc == 0, done.text


@dataclasses.dataclass(frozen=True)
class Moved:
    """A move: what the playbook says of its duration, the time without a reply to pings, and the wall clock of apply.yml, in seconds."""

    source: str
    target: str
    seconds: float
    silent_seconds: float
    apply_seconds: float


def clock(scene: Scene) -> float:
    return float(scene.run("xen01", "date +%s.%N"))


def silence(scene: Scene, begin: float, end: float) -> float:
    """The longest time without a reply of the guest to xen01, between two times of its clock."""
    text = scene.run("xen01", f"cat {PINGS}")
    replies = [float(found) for found in re.findall(r"^\[([0-9.]+)\] \d+ bytes from", text, re.MULTILINE)]
    there = [begin, *(reply for reply in replies if begin <= reply <= end), end]
    return max(after - before for before, after in itertools.pairwise(there))


def free_mib(scene: Scene) -> dict[str, int]:
    return {host: int(scene.run(host, "xl info | awk '/^free_memory/ {print $3}'")) for host in HOSTS}


@pytest.fixture(name="moving")
def _moving(fresh: Scene) -> Iterator[Scene]:
    """The pair with one more guest on xen01, which answers pings."""
    settings = wanted(fresh, "xen01")
    plan(fresh, settings)
    done = apply(fresh, settings)
    assert done.rc == 0, done.text
    assert where(fresh) == {"xen01": [GUEST], "xen02": []}
    fresh.wait("xen01", f"grep -q 'count 5' /var/log/xen/console/guest-{GUEST}.log", 120)
    fresh.run("xen01", f"systemd-run -q --unit=moves-pings -p StandardOutput=file:{PINGS} ping -D -n -i 0.5 {ADDRESS}")
    yield fresh
    fresh.run("xen01", "systemctl stop moves-pings")


def test_a_guest_moves_to_and_fro_and_misses_nothing(moving: Scene) -> None:
    before = free_mib(moving)
    here, there = HOSTS
    moves = []
    for number in range(MOVES):
        settings = wanted(moving, there, here)
        plan(moving, settings)
        if number == 0:
            shown = apply(moving, settings, "--check", "--diff")
            assert shown.rc == 0 and f"{GUEST} from {here} to {there}" in shown.text, shown.text
            assert where(moving)[here] == [GUEST]
        begin = clock(moving)
        done = apply(moving, settings)
        end = clock(moving)
        assert done.rc == 0, done.text
        assert where(moving) == {here: [], there: [GUEST]}
        said = re.search(r"step 1 of 1: \S+ is on \S+, \d+ MiB from \S+ in ([0-9.]+) s", done.text)
        assert said, done.text
        moves.append(Moved(here, there, float(said[1]), silence(moving, begin, end), end - begin))
        moving.holds(there, f"test -L /etc/xen/auto/10-{GUEST}", f"test -e /etc/xen/guests/{GUEST}.cfg")
        moving.holds(here, f"! test -L /etc/xen/auto/10-{GUEST}", f"! test -e /etc/xen/guests/{GUEST}.cfg")
        if number == 0:
            again = apply(moving, settings)
            assert (again.rc, set(again.changed.values())) == (0, {0}), again.text
        here, there = there, here
    numbers = counted(moving)
    print(table(moves), f"numbers said: {numbers[0]} to {numbers[-1]}", sep="\n")
    assert len(numbers) > 4 * MOVES
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    # An even number of moves, or one more: the guest itself is on the other host then.
    after = free_mib(moving)
    lost = sum(before.values()) - sum(after.values())
    print(f"free memory in MiB before {before}, after {after}")
    assert lost <= LOST_MIB, (before, after)


def table(moves: list[Moved]) -> str:
    rows = [f"| {number} | {move.source} | {move.target} | {move.seconds:.1f} | {move.silent_seconds:.1f} | {move.apply_seconds:.0f} |"
            for number, move in enumerate(moves, 1)]
    head = ["", "| move | from | to | xl migrate s | without a reply s | apply.yml s |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Eight guests on two hosts: one host is drained and taken back, in the order of the plan, and neither ever has more than it can hold."""
from __future__ import annotations

import concurrent.futures
import contextlib
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from moving import workload
from scene import HOSTS, Scene

from tests.lab.hands import ROUNDS, Run

pytestmark = pytest.mark.skipif(ROUNDS < 2, reason="takes half an hour: make lab-soak")

GUESTS = [f"many0{number}" for number in range(1, 9)]
# What the move of a guest leaves free at the target (docs/moves.md).
SLACK_MIB = 64
# At once from a host, where nothing is said of it.
MOVES_OUT = 2
HERE, THERE = HOSTS
PLAN = "eight"


def estate(homes: dict[str, str] | None = None, rules: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Eight guests without disks, so that they move live; homes: where they are."""
    workloads = [workload(name, f"10.9.0.{70 + number}") | ({"current": homes[name]} if homes else {})
                 for number, name in enumerate(GUESTS)]
    return {"estate_workloads": workloads, "estate_rules": rules or [], "estate_policy": {"objective": "balance"}}


@contextlib.contextmanager
def watched(scene: Scene) -> Iterator[list[tuple[str, int]]]:
    """(host, free MiB) as xl tells it, all the time; Xen gives no memory that it does not have, but its last would be a failed move."""
    seen: list[tuple[str, int]] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(2):
            for host in HOSTS:
                told = scene.ask(host, "xl info | awk '/^free_memory/ {print $3}'")
                if told.returncode == 0 and told.stdout.strip().isdigit():
                    seen.append((host, int(told.stdout)))

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        try:
            yield seen
        finally:
            ended.set()
            looking.result()


def moved_as_planned(scene: Scene, done: Run, target: str) -> None:
    plan = json.loads((scene.folder / PLAN / "operation" / "plan.json").read_text(encoding="utf-8"))
    wanted = [(str(move["step"]), move["workload"], move["to"]) for move in plan["moves"]]
    said = re.findall(r"step (\d+) of \d+: (\S+) is on (\S+), ", done.text)
    assert said == wanted and {move[2] for move in said} == {target}, (said, wanted)
    waves = [sum(move["wave"] == wave for move in plan["moves"]) for wave in {move["wave"] for move in plan["moves"]}]
    assert max(waves) <= MOVES_OUT, plan["moves"]
    print("\n".join(re.findall(r"step \d+ of \d+: \S+ is on [^\"\\]*", done.text)))


def test_a_host_with_four_of_eight_guests_is_drained_and_taken_back(fresh: Scene) -> None:
    fresh.clear()
    homes = {name: HERE if number < 4 else THERE for number, name in enumerate(GUESTS)}
    fences = [{"rule": "fence", "workloads": [name for name in GUESTS if homes[name] == host], "hosts": [host]} for host in HOSTS]
    inventory = fresh.copy_of_inventory()
    new = estate(rules=fences)
    fresh.good("plan", new, folder=PLAN)
    fresh.good("apply", new, folder=PLAN, timeout=3000)
    assert fresh.places() == homes
    for name, host in homes.items():
        fresh.counts_on(host, name, 0)

    settings = estate(homes)
    with watched(fresh) as seen:
        done = fresh.good("drain", settings, "-e", f"host={HERE}", folder=PLAN, timeout=3000)
        assert fresh.places() == dict.fromkeys(GUESTS, THERE)
        moved_as_planned(fresh, done, THERE)
        back = fresh.good("return", settings, "-e", f"host={HERE}", "-e", "back=true", folder=PLAN, timeout=3000)
        assert fresh.places() == homes
        moved_as_planned(fresh, back, HERE)
    least = {host: min(free for name, free in seen if name == host) for host in HOSTS}
    print(f"least free MiB of {len(seen)} looks: {least}")
    assert len(seen) > 20 and min(least.values()) >= SLACK_MIB
    for guest in GUESTS:
        numbers = fresh.counted(guest)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), guest
    marks = inventory / "drained.yml"
    assert not marks.exists() or HERE not in marks.read_text(encoding="utf-8")

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lets Ganeti's own tools judge what the planner makes of a Ganeti cluster: no program of this project has a say in it."""
from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.htools.text import parse, render
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place

NODES, INSTANCES, OWN_MIB = 12, 100, 2048
# What may run where: template, share, whether a part of it is down.
EXTERNAL = (("ext", 1),)
MIXED = (("ext", 5), ("rbd", 1), ("plain", 2), ("drbd", 2))


def estate(seed: int, templates: tuple[tuple[str, int], ...], down: float) -> str:
    """A cluster whose free figures add up; the same seed gives the same text."""
    rng = random.Random(seed)
    memory, disk = 64 * 1024, 2048 * 1024
    free_mib, free_disk = [memory - OWN_MIB] * NODES, [disk] * NODES
    instances = []
    for number in range(INSTANCES):
        mib, size, vcpus = rng.choice((1024, 2048, 2048, 3072, 4096, 6144)), 1024 * rng.randint(5, 60), rng.randint(1, 4)
        template = rng.choices([name for name, _ in templates], [share for _, share in templates])[0]
        status = "ADMIN_down" if rng.random() < down else "running"
        # Also the down ones have room, since they may be started.
        home = rng.choice([node for node in range(NODES) if free_mib[node] >= 6144 + mib])
        mirror = rng.choice([node for node in range(NODES) if node != home]) if template == "drbd" else None
        free_mib[home] -= mib if status == "running" else 0
        for node in {home, mirror} - {None} if template in ("plain", "drbd") else ():
            free_disk[node] -= size
        tags = f"service:s{number // 3}" if number < 9 else ""
        secondary = "" if mirror is None else f"node{mirror:02d}"
        instances.append(f"vm{number:03d}|{mib}|{size}|{vcpus}|{status}|Y|node{home:02d}|{secondary}|{template}|{tags}|1|-")
    nodes = [f"node{node:02d}|{memory}|{OWN_MIB}|{free_mib[node]}|{disk}|{free_disk[node]}|16|{'N' if node else 'M'}|uuid-1|64||N|0|1|1.0"
             for node in range(NODES)]
    policy = f"|1024,1,1024,1,1,1|128,1,0,0,0,0;131072,64,4194304,16,8,12|{','.join(name for name, _ in templates)}|4.0|32.0"
    sections = (["group1|uuid-1|preferred||"], nodes, instances, ["htools:iextags:service"], [policy])
    return "\n".join("".join(f"{line}\n" for line in section) for section in sections)


def run(*command: str) -> str:
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    print("$", *command, result.stdout, sep="\n", flush=True)
    assert result.returncode == 0, result.stdout
    return result.stdout


def judged(path: Path, text: str) -> dict[str, Any]:
    """What hcheck and hbal say of a text: N+1 failures, conflicts, complaints, and per node the columns that hbal prints."""
    path.write_text(text)
    checked = run("hcheck", "-t", str(path), "--no-simulation")
    balanced = run("hbal", "-t", str(path), "-l", "0", "-p")
    lines = [line.split() for line in balanced.split("Final cluster status:")[1].splitlines() if line.strip()]
    head = lines[0][1:]
    # The flag before a name is there for bad and offline nodes only.
    rows = [dict(zip(head, line[-len(head):], strict=True)) for line in lines[1:1 + NODES]]
    cluster = checked.split("Cluster statistics initially")[1]
    return {
        "bad": int(re.findall(r"Nodes not N\+1 happy: (\d+)", cluster)[0]),
        "conflicts": int(re.findall(r"Nodes with conflicting instances: (\d+)", cluster)[0]),
        "loaded": re.findall(r"Loaded (\d+) nodes, (\d+) instances", balanced),
        "complaints": [line for line in (checked + balanced).splitlines() if re.search(r"missing|inconsistent|Warning|Error", line)],
        "nodes": {row["Name"]: {name: row[name] for name in head if name != "Name"} for row in rows},
    }


@pytest.mark.parametrize(("templates", "down"), [(EXTERNAL, 0.0), (MIXED, 0.1)], ids=["external", "mixed"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ganeti_agrees(tmp_path: Path, seed: int, templates: tuple[tuple[str, int], ...], down: float) -> None:
    text = estate(seed, templates, down)
    problem = parse(text)
    assert render(text, {"placement": {workload["name"]: workload["current"] for workload in problem["workloads"]}}) == text
    # htools counts a node without any free memory as failing.
    problem["policy"]["headroom"] = {"memory_mib": 0.05}
    plan = place(problem)
    assert plan["status"] in ("optimal", "feasible")
    print(f"hosts {plan['summary']['hosts_before']} -> {plan['summary']['hosts_used']}, {plan['summary']['moves']} moves")
    before, after = judged(tmp_path / "before.data", text), judged(tmp_path / "after.data", render(text, plan))
    for seen in (before, after):
        assert seen["loaded"] == [(str(NODES), str(INSTANCES))]
        assert seen["complaints"] == []
    assert after["conflicts"] == 0
    if templates == EXTERNAL:
        assert after["bad"] == 0
    asleep = {line.split("|")[0] for line in text.splitlines() if "|ADMIN_down|" in line}
    demand = {workload["name"]: workload["demand"] for workload in problem["workloads"]}
    for name, host in plan["hosts"].items():
        row = after["nodes"][name]
        down_mib = sum(demand[workload]["memory_mib"] for workload in host["workloads"] if workload in asleep)
        assert int(row["i_mem"]) + down_mib == host["used"]["memory_mib"], name
        assert int(row["f_mem"]) == int(row["t_mem"]) - OWN_MIB - int(row["i_mem"]) > 0, name
        assert (int(row["x_mem"]), int(row["pcnt"])) == (0, len(host["workloads"])), name
        assert int(row["vcpu"]) - 1 == host["used"]["vcpus"], name

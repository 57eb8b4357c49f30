# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guests that count and can move live, and the playbooks that move them."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from scene import ESTATE, HOSTS, Scene

from tests.lab.hands import Point, Run

# Most tests have the first of them alone.
ADDRESSES = {"live01": "10.9.0.61"} | {f"live0{number}": f"10.9.0.{61 + number}" for number in range(2, 9)}
GUEST = "live01"
CONSOLE = "/var/log/xen/console/guest-{}.log"


def workload(name: str, address: str) -> dict[str, Any]:
    """Without a disk it can move while there is no storage that both hosts have."""
    return {
        "name": name, "type": "pvh", "vcpus": 1, "memory_mib": 96, "tsc_mode": "native", "autostart": 10, "storage": "shared",
        "networks": [{"bridge": "xenbr0"}], "demand": {"cpu_cores": 0.1, "network_mbps": 2},
        "boot": {"image": "lab", "cmdline": f"console=hvc0 name={name} ip={address}/24"},
    }


def placed(scene: Scene, to: Mapping[str, str], current: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The lab's estate with more guests, or these alone after scene.clear(). to: guest -> the host that it is to be on; current: the same
    of those that run. All others stay where they are."""
    estate = yaml.safe_load(ESTATE.read_text(encoding="utf-8"))
    known = [one for one in estate["estate_workloads"] if one["name"] in scene.guests]
    workloads = [{**one, "current": scene.guests[one["name"]]} for one in known]
    workloads += [workload(name, ADDRESSES[name]) | ({"current": current[name]} if current else {}) for name in to]
    rules = estate["estate_rules"] if known else []
    rules += [{"rule": "fence", "workloads": [name], "hosts": [host]} for name, host in to.items()]
    return {"estate_workloads": workloads, "estate_rules": rules, "estate_policy": {"objective": "hosts", "max_moves": len(to)}}


def wanted(scene: Scene, to: str, current: str | None = None) -> dict[str, Any]:
    """The same with one more guest."""
    return placed(scene, {GUEST: to}, {GUEST: current} if current else None)


def where_on(scene: Scene, host: str) -> list[str]:
    """The domains of a host that are the guest, under any name."""
    return sorted(name for name in scene.domains(host) if name.startswith(GUEST))


def where(scene: Scene) -> dict[str, list[str]]:
    """The same of each host."""
    return {host: where_on(scene, host) for host in HOSTS}


def apply(scene: Scene, settings: dict[str, Any], *words: str) -> Run:
    return scene.play_all("apply", settings, *words, folder="moves")


def point(scene: Scene, settings: dict[str, Any], host: str, marker: str, *words: str) -> Point:
    """The same run, and where on it something happens."""
    return Point("apply", host, "playbooks/apply.yml", settings, marker, (), (*words, "-e", f"plan_dir={scene.folder}/moves"), limit=False)


def refused(done: Run, *words: str) -> None:
    assert done.rc != 0, done.text
    text = " ".join(done.text.split())
    assert all(word in text for word in words), done.text


def lock_holder(scene: Scene, settings: dict[str, Any], *words: str) -> str:
    """The run that has the locks still, though its controller was killed, as the next one is told that tries it."""
    second = apply(scene, settings, *words)
    refused(second, "carries out a plan since", "break_lock=")
    run = re.search(r"\(run (\S+?)\)", " ".join(second.text.split()))
    assert run, second.text
    return run[1]


def counts_since_start(scene: Scene, host: str, guest: str) -> list[int]:
    """What a guest with a disk has counted on its console there, since it was started there last."""
    text = scene.run(host, f"cat {CONSOLE.format(guest)} 2>/dev/null; true")
    begun = [found.end() for found in re.finditer(r"\bdisk (?:kept|formatted)", text)]
    return [int(number) for number in re.findall(r"\bcount (\d+)", text[begun[-1] if begun else 0:])]


def plan(scene: Scene, settings: dict[str, Any]) -> None:
    scene.good("plan", settings, folder="moves")


def begin(scene: Scene, more: Mapping[str, Any] | None = None, guests: Sequence[str] = (GUEST,)) -> None:
    """More guests on xen01, which count. more: settings beside those of the estate."""
    settings = {**placed(scene, dict.fromkeys(guests, "xen01")), **(more or {})}
    # A guest without autostart may have been left off.
    before = scene.places()
    plan(scene, settings)
    done = apply(scene, settings)
    assert done.rc == 0, done.text
    found = scene.places()
    assert found == {**before, **dict.fromkeys(guests, "xen01")}, found
    for guest in guests:
        scene.counts_on("xen01", guest, 2)

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which hosts may be shut down, and how it is remembered which are off."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.operations import marks, power


def on(*domains: str, **more: Any) -> dict[str, Any]:
    return {"domains": [{"name": name} for name in domains], "moving": [], "receiving": [], "guests": {}, "xen": True, **more}


def problem(hosts: dict[str, Any], *workloads: dict[str, Any]) -> dict[str, Any]:
    """As the estate makes it of such variables."""
    found = []
    for name, values in hosts.items():
        told = values.get("estate_host", {})
        drained = "estate_drained" in values or values.get("estate_off")
        found.append({"name": name, "pool": told.get("pool", "default"), "state": "drain" if drained else told.get("state", "active")})
    return {"hosts": found, "workloads": list(workloads)}


DRAINED = {"estate_drained": []}


@pytest.mark.parametrize(("found", "hosts", "told"), [
    ({"a": on(), "b": on()}, {"a": DRAINED, "b": {}}, []),
    ({"a": on(), "b": on()}, {"a": {"estate_host": {"state": "drain"}}, "b": {}}, []),
    ({"a": on(), "b": on()}, {"a": {}, "b": {}}, ["it is not drained"]),
    # By the inventory it is the current host of that guest, which has moved to its replica.
    ({"a": on(resources={"db01-root": {"guest": "db01"}}), "b": on()}, {"a": DRAINED, "b": {}}, ["it keeps the second copy of db01"]),
    ({"b": on()}, {"a": DRAINED, "b": {}}, ["it does not answer"]),
    ({"a": on("web01", guests={"web01": "running", "db01": "autostart"}), "b": on()}, {"a": DRAINED, "b": {}}, ["db01, web01: runs there"]),
    ({"a": on(receiving=[7]), "b": on()}, {"a": DRAINED, "b": {}}, ["a guest that arrives: runs there"]),
    # Not a spare: with guests, off, drained itself, silent, of another pool.
    ({"a": on(), "b": on("web01")}, {"a": DRAINED, "b": {}}, ["power_spares: value 1"]),
    ({"a": on(), "b": on()}, {"a": DRAINED, "b": {"estate_off": True}}, ["power_spares: value 1"]),
    ({"a": on(), "b": on()}, {"a": DRAINED, "b": DRAINED}, ["power_spares: value 1"]),
    ({"a": on()}, {"a": DRAINED, "b": {}}, ["power_spares: value 1"]),
    ({"a": on(), "b": on()}, {"a": DRAINED, "b": {"estate_host": {"pool": "other"}}}, ["power_spares: value 1"]),
    ({"a": on(), "b": on(xen=False)}, {"a": DRAINED, "b": {}}, ["power_spares: value 1"]),
    ({"a": on(), "b": on()}, {"a": DRAINED, "b": {"estate_host": {"state": "closed"}}}, ["power_spares: value 1"]),
    ({"a": on(), "b": on()}, {"a": DRAINED, "b": {"estate_host": {"pool": "default"}}}, []),
    # Shut down for its move, and started nowhere yet.
    ({"a": on(journals={"db01": {"stage": "down"}}), "b": on()}, {"a": DRAINED, "b": {}}, ["db01: on its way; go on with what moves it"]),
    ({"a": on()}, {"a": {**DRAINED, "power_spares": 0}, "b": {}}, []),
    ({"a": on(), "b": on()}, {"a": {**DRAINED, "power_spares": "2"}, "b": {}}, ["there would be 1: b"]),
    ({"a": on()}, {"a": {**DRAINED, "power_spares": -1}, "b": {}}, ["power_spares: value -1, allowed a number, 0 or more"]),
])
def test_what_keeps_a_host_on(found: dict[str, Any], hosts: dict[str, Any], told: list[str]) -> None:
    lines = power.against("a", found, problem(hosts), {}, hosts["a"].get("power_spares", 1))
    assert len(lines) == len(told) and all(part in line for part, line in zip(told, lines, strict=True)), lines


def test_a_guest_that_is_stopped_with_its_disks_keeps_a_host_on() -> None:
    disks = [{"name": "root", "size_gib": 1, "volume_group": "vg0"}]
    guests = {name: {"name": name, "disks": disks} for name in ("local01", "shared01", "runs01", "elsewhere01")}
    guests["diskless01"] = {"name": "diskless01", "disks": [{"cdrom": True}]}
    workloads = [{"name": name, **({"storage": "shared"} if name == "shared01" else {})} for name in [*guests, "planned01"]]
    hosts = {"a": {**DRAINED, "power_spares": 0}, "b": {}}
    for stored in ({"stored": [*guests, "stranger"]}, {"volumes": [{"volume_group": "vg0", "name": "local01-root"}]}):
        found = {"a": on(**stored), "b": on("runs01", "elsewhere01")}
        [line] = power.against("a", found, problem(hosts, *workloads), guests, 0)
        assert line.startswith("local01: stopped there, with disks or configuration; take the host back")


def test_second_copies_keep_a_host_on() -> None:
    estate = problem({"a": DRAINED, "b": {}}, {"name": "web01", "replica": "a"}, {"name": "db01"})
    lines = power.against("a", {"a": on(), "b": on()}, estate, {})
    assert lines == ["it keeps the second copy of web01 (replica)"]


def test_hosts_that_are_off_are_remembered_and_forgotten() -> None:
    text = marks.switched(marks.switched("", "xen03", True), "xen01", True)
    assert text.index("xen01") < text.index("xen03") and text.startswith("---\n# Written by playbooks/power.yml")
    assert marks.switched(text, "xen03", True) == text
    assert marks.switched(marks.switched(text, "xen01", False), "xen03", False) == ""
    with pytest.raises(ValueError, match="it does not have the form xen_hosts, hosts, HOST, estate_off"):
        marks.switched("xen_hosts: {hosts: {xen01: {}}}", "xen03", True)

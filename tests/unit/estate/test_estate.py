# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The estate without Ansible: every error as data, and what comes of an estate that is in order."""
from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate import schema
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.build import read_estate
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.findings import LIMIT
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.roles import PREFIXES, read_options
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.check import check_guest
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.schema import GUEST_SPEC
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement import schema as placement_schema
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.normalise import normalise

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]
OPTIONS = read_options(str(ROOT / "roles"))
CASES = yaml.safe_load((FOLDER / "error_cases.yml").read_text())


def estate() -> dict[str, Any]:
    """Two hosts and two guests that are in order."""
    return yaml.safe_load((FOLDER / "estate.yml").read_text())


def change(document: dict[str, Any], path: str, value: Any) -> None:
    """Set what a dotted path names; DELETE removes it, a trailing + appends."""
    steps = [int(step) if step.isdigit() else step for step in path.rstrip("+").split(".")]
    for step in steps[:-1]:
        document = document[step]
    if path.endswith("+"):
        document[steps[-1]].append(value)
    elif value == "DELETE":
        del document[steps[-1]]
    else:
        document[steps[-1]] = value


def errors_of(document: dict[str, Any]) -> list[str]:
    findings, built = read_estate(document["hosts"], document["estate"])
    assert bool(findings) != bool(built)
    return findings.report(lambda path, at_key: None).splitlines()[1:] if findings else []


def test_the_estate_of_these_tests_is_in_order() -> None:
    assert errors_of(estate()) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_errors(case: dict[str, Any]) -> None:
    document = estate()
    for path, value in case["change"].items():
        change(document, path, value)
    assert errors_of(document) == case["errors"]


def test_places_order_the_findings_and_equal_ones_of_many_hosts_are_told_once() -> None:
    document = estate()
    for name in ("xen01", "xen02"):
        document["hosts"][name]["estate_host"]["pools"] = "a"
    document["estate"]["estate_workloads"][0]["memory_mib"] = 1

    def locate(path: Any, at_key: bool) -> tuple[str, int]:
        assert at_key == (path[-1] == "pools")
        return ("b.yml", 7) if path[0] == "hosts" else ("a.yml", 12)

    findings, _ = read_estate(document["hosts"], document["estate"])
    assert findings.report(locate).splitlines() == [
        "2 errors in the estate, nothing was written",
        "a.yml:12: workload 'web01': memory_mib: value 1, allowed 32 to 12582912 MiB",
        "b.yml:7: host 'xen01' and 1 more: estate_host: pools: unknown key with value 'a' (did you mean pool?), allowed "
        + ", ".join(sorted(schema.HOST)),
    ]


def test_a_flood_of_errors_is_bounded() -> None:
    document = estate()
    document["estate"]["estate_workloads"] = [{"name": "Bad", "memory_mib": 64} for _ in range(20_000)]
    document["estate"]["estate_rules"] = [{"rule": f"x{number}"} for number in range(200)]
    lines = errors_of(document)
    assert len(lines) == LIMIT + 1
    assert lines[-1].startswith("... and ")


@pytest.mark.parametrize("value", [10**400, -(10**400)])
@pytest.mark.parametrize("path", [
    "hosts.xen01.estate_host.cpu_cores", "hosts.xen01.dom0_vcpus", "hosts.xen01.estate_host.capacity",
    "estate.estate_workloads.0.demand.disk_iops", "estate.estate_workloads.0.move_cost", "estate.estate_policy.headroom.cpu_cores",
])
def test_numbers_that_no_float_can_hold_are_refused(path: str, value: int) -> None:
    document = estate()
    change(document, path, {"gpu": value} if path.endswith("capacity") else value)
    errors = errors_of(document)
    assert len(errors) == 1 and "allowed a" in errors[0]


def test_what_the_planner_gets() -> None:
    document = estate()
    change(document, "hosts.xen01.estate_host.numa_nodes", [{"memory_mib": 62000, "cpu_cores": 7}] * 2)
    _, built = read_estate(document["hosts"], document["estate"])
    problem = built["problem"]
    assert [host["name"] for host in problem["hosts"]] == ["xen01", "xen02"]
    assert problem["hosts"][0] == {
        "name": "xen01",
        "capacity": {"cpu_cores": 14, "disk_gib": 3725.546875, "disk_iops": 461, "dom0_cores": 1.3, "memory_mib": 125203,
                     "network_mbps": 1600},
        "pool": "a", "zone": "rack1", "state": "active",
        "features": ["bridge:xenbr0", "hap", "hvm", "volume_group:vg_guests"],
        "limits": {"link_mbps": 1000, "moves_in": 2, "vcpus": 16},
        "watts": {"busy": 210, "idle": 95}, "numa_nodes": [{"cpu_cores": 7, "memory_mib": 62000}] * 2,
    }
    assert problem["hosts"][1]["zone"] == "xen02"
    web, planned = problem["workloads"][1], problem["workloads"][0]
    assert web == {
        "name": "web01",
        # 4096 + paging 4 x (256 x 2 + 4096) KiB + 2 + 0.15 x 2 + 64 x 4 KiB + 8 MiB, rounded up to 2 MiB
        "demand": {"cpu_cores": [0.4, 1.8], "disk_gib": 20, "disk_iops": 40, "dom0_cores": 0.00285, "memory_mib": 4126,
                   "network_mbps": 15},
        "current": "xen01", "storage": "local", "live": True, "vcpus": 2, "move_cost": 4096,
        "requires": ["bridge:xenbr0", "hvm", "volume_group:vg_guests"],
    }
    assert planned["demand"] == {"cpu_cores": 0.5, "memory_mib": 900}
    assert "planned01" not in built["guests"]
    assert problem["rules"] == document["estate"]["estate_rules"]
    assert problem["policy"] == document["estate"]["estate_policy"]


@pytest.mark.parametrize(("value", "state"), [(["web01"], "drain"), ([], "drain"), (None, "active")])
def test_a_host_that_is_drained_gets_no_guests(value: Any, state: str) -> None:
    document = estate()
    document["hosts"]["xen01"]["estate_drained"] = value
    findings, built = read_estate(document["hosts"], document["estate"])
    assert (findings.all, built["hosts"]["xen01"]["state"], built["problem"]["hosts"][0]["state"]) == ([], state, state)


def test_guests_are_definitions_that_xl_guest_accepts() -> None:
    document = estate()
    _, built = read_estate(document["hosts"], document["estate"])
    guest = built["guests"]["web01"]
    assert set(guest) <= set(GUEST_SPEC)
    assert check_guest(guest) == []
    # As the module itself takes it: Ansible does not let null pass where a key has choices.
    spec = {"guests": {"type": "list", "elements": "dict", "options": GUEST_SPEC}}
    assert ArgumentSpecValidator(spec).validate({"guests": [guest]}).error_messages == []
    assert guest["maxvcpus"] == 2 and guest["maxmem_mib"] == 4096
    assert guest["networks"][0]["mac"].startswith("00:16:3e:")
    assert guest["boot"] == {"image": "debian12", "cmdline": "root=/dev/xvda ro"}


def test_a_first_boot_takes_a_small_disk_of_its_own() -> None:
    document = estate()
    _, plain = read_estate(document["hosts"], document["estate"])
    document["estate"]["estate_workloads"][0]["first_boot"] = {"user_data": "#cloud-config\n", "networks": [{"dhcp": True}]}
    _, built = read_estate(document["hosts"], document["estate"])
    guest = built["guests"]["web01"]
    assert check_guest(guest) == [] and [disk["vdev"] for disk in guest["disks"]] == ["xvda", "xvdz"]
    grown = [found["problem"]["workloads"][1]["demand"]["disk_gib"] for found in (plain, built)]
    assert grown == [20, 20.003907]
    spec = {"guests": {"type": "list", "elements": "dict", "options": GUEST_SPEC}}
    assert ArgumentSpecValidator(spec).validate({"guests": [guest]}).error_messages == []


def test_the_order_of_the_inventory_does_not_matter() -> None:
    document = estate()
    turned = copy.deepcopy(document)
    turned["hosts"] = dict(reversed(list(turned["hosts"].items())))
    turned["estate"]["estate_workloads"].reverse()
    assert read_estate(document["hosts"], document["estate"])[1] == read_estate(turned["hosts"], turned["estate"])[1]


def test_a_second_volume_group_becomes_a_resource_of_its_own() -> None:
    document = estate()
    document["hosts"]["xen01"]["storage_arrays"].append({"name": "fast", "level": 1, "members": [
        {"id": "nvme-A", "serial": "A", "size_gib": 900, "iops": 50000}, {"id": "nvme-B", "serial": "B", "size_gib": 900, "iops": 50000}]})
    document["hosts"]["xen01"]["storage_volume_groups"].append({"name": "vg_fast", "devices": ["/dev/md/fast"]})
    document["estate"]["estate_workloads"][0]["disks"].append({"name": "log", "size_gib": 5, "volume_group": "vg_fast"})
    findings, built = read_estate(document["hosts"], document["estate"])
    assert not findings
    first, second = built["problem"]["hosts"]
    parts = first["capacity"]["disk_gib:vg_fast"] + first["capacity"]["disk_gib:vg_guests"]
    assert first["capacity"]["disk_gib"] == pytest.approx(parts, abs=1e-5)
    assert "disk_gib:vg_fast" not in second["capacity"]
    web = built["problem"]["workloads"][1]
    assert {key: value for key, value in web["demand"].items() if key.startswith("disk_gib")} == {
        "disk_gib": 25, "disk_gib:vg_fast": 5, "disk_gib:vg_guests": 20}
    assert "volume_group:vg_fast" in web["requires"]


def replicated(document: dict[str, Any], group: str = "vg_guests", size_gib: float = 20) -> None:
    web = document["estate"]["estate_workloads"][0]
    web |= {"storage": "replicated", "replica": "xen02"}
    web["disks"] = [{"name": "root", "size_gib": size_gib, "volume_group": group, "drbd_minor": 1}]


def test_replicated_disks_are_reserved_on_both_hosts_and_no_demand() -> None:
    document = estate()
    before = read_estate(document["hosts"], document["estate"])[1]["problem"]
    replicated(document)
    findings, built = read_estate(document["hosts"], document["estate"])
    problem = built["problem"]
    assert not findings and "disk_gib" not in problem["workloads"][1]["demand"]
    # 20 GiB, and an extent for DRBD's own data.
    assert [host["reserved"] for host in problem["hosts"]] == [{"disk_gib": 20.003907}] * 2
    assert [host["capacity"] for host in problem["hosts"]] == [host["capacity"] for host in before["hosts"]]
    assert not any("reserved" in host for host in before["hosts"])


def test_replicated_disks_in_one_of_several_volume_groups() -> None:
    document = estate()
    for name in ("xen01", "xen02"):
        document["hosts"][name]["storage_arrays"].append({"name": "fast", "level": 1, "members": [
            {"id": f"nvme-{name}{half}", "serial": f"{name}{half}", "size_gib": 900, "iops": 50000} for half in "AB"]})
        document["hosts"][name]["storage_volume_groups"].append({"name": "vg_fast", "devices": ["/dev/md/fast"]})
    replicated(document, "vg_fast", 100)
    findings, built = read_estate(document["hosts"], document["estate"])
    assert not findings and not any(key.startswith("disk_gib") for key in built["problem"]["workloads"][1]["demand"])
    assert [host["reserved"] for host in built["problem"]["hosts"]] == [{"disk_gib": 100.007813, "disk_gib:vg_fast": 100.007813}] * 2


def test_pv_guests_do_not_move_live_unless_told() -> None:
    document = estate()
    web = document["estate"]["estate_workloads"][0]
    web["type"] = "pv"
    assert read_estate(document["hosts"], document["estate"])[1]["problem"]["workloads"][1]["live"] is False
    web["live"] = True
    assert read_estate(document["hosts"], document["estate"])[1]["problem"]["workloads"][1]["live"] is True


@pytest.mark.parametrize("tie", [
    {"type": "pv", "pci": [{"address": "0000:03:00.0"}]}, {"driver_domain": True},
    {"networks": [{"bridge": "of_net01", "backend": "net01"}]},
])
def test_what_is_of_one_host_stays_there(tie: dict[str, Any]) -> None:
    document = estate()
    web = document["estate"]["estate_workloads"][0]
    assert "movable" not in read_estate(document["hosts"], document["estate"])[1]["problem"]["workloads"][1]
    web |= tie
    findings, built = read_estate(document["hosts"], document["estate"])
    assert not findings
    planned = built["problem"]["workloads"][1]
    assert planned["movable"] is False
    assert "bridge:of_net01" not in planned.get("requires", [])


def test_estate_and_planner_know_the_same_keys() -> None:
    assert set(schema.RULES) == set(placement_schema.RULE_KEYS)
    for kind, extra in placement_schema.RULE_KEYS.items():
        assert set(schema.RULES[kind]) == {*placement_schema.COMMON_RULE_KEYS, *extra}
    assert set(schema.POLICY) == set(placement_schema.POLICY_KEYS)
    assert set(schema.WORKLOAD) | {"name", "vcpus"} == set(placement_schema.WORKLOAD_KEYS)
    assert set(schema.HOST) - {"cpu_cores", "memory_mib"} | {"name", "reserved"} == set(placement_schema.HOST_KEYS)


def test_the_examples_of_the_documentation_are_an_estate() -> None:
    text = (ROOT / "docs/estate.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    second = blocks[0]
    for old, new in (("52:54:00:00:01", "52:54:00:00:02"), ("10.9.0.1/", "10.9.0.2/"), ("WD-", "WE-")):
        assert old in second
        second = second.replace(old, new)
    hosts = {"xen01": yaml.safe_load(blocks[0]), "xen02": yaml.safe_load(second)}
    findings, built = read_estate(hosts, yaml.safe_load(blocks[1]), options=OPTIONS)
    assert not findings, findings.report(lambda path, at_key: None)
    assert set(built["guests"]) == {"web01"}
    assert normalise(built["problem"]).slots == 3


@pytest.mark.parametrize(("name", "value", "expected"), [
    ("network_bond", [], "network_bond: unknown key with value [] (did you mean network_bonds?), allowed network_"),
    ("storage_array", [], "storage_array: unknown key with value [] (did you mean storage_arrays?), allowed storage_"),
    ("guests_image", [], "guests_image: unknown key with value [] (did you mean guests_images?), allowed guests_"),
    ("dom0_memory_gib", 4, "dom0_memory_gib: unknown key with value 4 (did you mean dom0_memory_mib?), allowed dom0_"),
    ("dom0_reboot", "maybe", "role dom0: dom0_reboot: value 'maybe', allowed never, if_empty, drain"),
    ("dom0_reboot", False, "role dom0: dom0_reboot: value False, allowed never, if_empty, drain"),
    ("network_assert", ["members", "gatway"], "network_assert[1]: value 'gatway', allowed members, partner, gateway"),
    ("network_assert", "gatway", "network_assert[0]: value 'gatway', allowed members, partner, gateway"),
    ("network_assert", 3, "network_assert: value 3, allowed a list of members, partner, gateway"),
])
def test_variables_that_no_role_reads(name: str, value: Any, expected: str) -> None:
    document = estate()
    document["hosts"]["xen02"][name] = value
    findings, _ = read_estate(document["hosts"], document["estate"], options=OPTIONS)
    lines = findings.report(lambda path, at_key: None).splitlines()
    assert lines[0].startswith("1 error ") and "host 'xen02': " in lines[1] and expected in lines[1]


@pytest.mark.parametrize("variables", [
    {"dom0_reboot": "if_empty", "network_assert": ["gateway"], "network_confirm_seconds": 300, "guests_images": []},
    {"dom0_reboot": None, "network_assert": "members,gateway", "card_macs": [], "networks": 3, "ansible_network_os": "x", "dom0": 1},
])
def test_variables_of_roles_and_of_others_pass(variables: dict[str, Any]) -> None:
    document = estate()
    document["hosts"]["xen01"].update(variables)
    findings, _ = read_estate(document["hosts"], document["estate"], options=OPTIONS)
    assert not findings, findings.report(lambda path, at_key: None)


def test_every_role_of_hosts_has_options_here() -> None:
    roles = {name for prefix in PREFIXES for name in OPTIONS if name.startswith(prefix)}
    assert roles == set(OPTIONS) and {name.split("_")[0] + "_" for name in OPTIONS} == set(PREFIXES)
    defaults = [yaml.safe_load(file.read_text()) for file in ROOT.glob("roles/*/defaults/main.yml")]
    assert {name for part in defaults for name in part} <= set(OPTIONS)


@pytest.mark.parametrize("key", ["seed", "max_moves", "failover"])
@pytest.mark.parametrize(("value", "good"), [(0, True), (10**12, True), (10**12 + 1, False), (-1, False), (1.5, False), (True, False)])
def test_estate_and_planner_have_the_same_bounds(key: str, value: Any, good: bool) -> None:
    document = estate()
    document["estate"]["estate_policy"][key] = value
    errors = errors_of(document)
    problem = {"hosts": [{"name": "a", "capacity": {"cpu_cores": 1}}], "policy": {key: value}}
    words = f"policy: {key}: value {value}, allowed a whole number of at least 0 and at most 1000000000000"
    if good:
        assert errors == [] and normalise(problem)
        return
    assert errors == [f"estate_policy: {words}"]
    with pytest.raises(placement_schema.ProblemError) as caught:
        normalise(problem)
    assert caught.value.errors == [words]

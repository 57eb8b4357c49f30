# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory plugin by Ansible's own InventoryManager, on folders with good and bad estates."""
from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.vars.manager import VariableManager
from ansible_collections.xenfold.consolidation.plugins.inventory import guests
from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.findings import audit

from tests.unit.audit.answers import READ, domain, good

PLUGIN = {"plugin": "xenfold.consolidation.guests", "estate": "../lab", "plan_dir": "../build"}
HOSTS = {"xen_hosts": {"hosts": {"xen01": {"rack": "a"}, "xen02": {"rack": "b"}},
                       "vars": {"estate_host": {"pool": "big-1", "zone": "rack {{ rack }}"}}}}
WORKLOADS = [
    {"name": "web01", "memory_mib": 512, "vcpus": 2, "boot": {"image": "lab", "cmdline": "console=hvc0 ip=10.9.0.51/24 quiet"}},
    {"name": "web02", "memory_mib": 512, "current": "xen02"},
    {"name": "db01", "memory_mib": 2048, "type": "hvm", "boot": {"kernel": "/k", "cmdline": "ip={{ base }}.53::10.9.0.1"}},
    {"name": "old9", "demand": {"cpu_cores": 1}},
]
PLAN = {"schema": 1, "placement": {"web01": "xen01", "web02": "xen01", "db01": "xen02", "old9": "xen01"}, "moves": [
    {"step": 1, "workload": "db01", "from": None, "to": "xen02", "method": "define"},
    {"step": 3, "workload": "web02", "from": "xen01", "to": "xen01", "method": "live"},
    {"step": 2, "workload": "web02", "from": "xen02", "to": "xen01", "method": "live"},
]}


@pytest.fixture(autouse=True)
def _ansible(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Ansible's own importer puts on a collection's packages, which pytest has imported before it could."""
    collection = importlib.import_module("ansible_collections.xenfold.consolidation")
    monkeypatch.setattr(collection, "_collection_meta", {}, raising=False)
    package = importlib.import_module("ansible_collections.xenfold.consolidation.plugins.inventory")
    monkeypatch.setattr(package, "__file__", str(Path(guests.__file__).with_name("__init__.py")), raising=False)
    monkeypatch.setattr(constants, "INVENTORY_ANY_UNPARSED_IS_FAILED", True)


def estate(folder: Path, workloads: Any = WORKLOADS, hosts: Any = HOSTS, **files: Any) -> Path:
    """A folder with an estate, a source of guests beside it, and files of `build`."""
    for name in ("lab/group_vars/all", "guests", "build"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "lab" / "hosts.yml").write_text(yaml.safe_dump(hosts))
    (folder / "lab" / "group_vars" / "all" / "estate.yml").write_text(
        yaml.safe_dump({"estate_workloads": workloads, "base": "10.9.0"}))
    for name, content in files.items():
        (folder / "build" / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def listed(folder: Path, loader: DataLoader | None = None, place: str = "guests/guests.xenfold.yml", **options: Any) -> InventoryManager:
    (folder / place).write_text(yaml.safe_dump({**PLUGIN, **options}))
    return InventoryManager(loader=loader or DataLoader(), sources=[str(folder / place)])


def refused(folder: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    """What Ansible warns of before it gives up on a source, on one line."""
    with pytest.raises(AnsibleError, match="Completely failed to parse inventory source"):
        listed(folder, **options)
    return " ".join(capsys.readouterr().err.split())


def groups(inventory: InventoryManager) -> dict[str, list[str]]:
    return {name: sorted(members) for name, members in inventory.get_groups_dict().items() if members and name not in ("all", "ungrouped")}


def audited(**domains: list[dict[str, Any]] | None) -> dict[str, Any]:
    """An audit of hosts with these domains; None for one that is lost."""
    answers: dict[str, Any] = {}
    for host, there in domains.items():
        answers[host] = good(host) if there is not None else {"host": {"unreachable": True}}
        if there is not None:
            answers[host]["guest_info"]["domains"] = there
    return audit("lab", ["xen01", "xen02"], list(domains), answers, READ, None)


def test_guests_of_an_estate_and_its_plan(tmp_path: Path) -> None:
    inventory = listed(estate(tmp_path, plan=PLAN))
    assert groups(inventory) == {
        "xen_guests": ["db01", "web01", "web02"], "host_xen01": ["web01"], "host_xen02": ["web02"],
        "planned_xen01": ["web01", "web02"], "planned_xen02": ["db01"], "zone_rack_a": ["web01"], "zone_rack_b": ["web02"],
        "pool_big_1": ["web01", "web02"], "state_unknown": ["db01", "web01", "web02"],
        "plan_in_place": ["web01"], "plan_to_move": ["web02"], "plan_to_start": ["db01"],
    }
    variables = VariableManager(loader=DataLoader(), inventory=inventory)
    web01 = variables.get_vars(host=inventory.get_host("web01"))
    assert {key: value for key, value in web01.items() if key.startswith("xenfold_")} == {
        "xenfold_host": "xen01", "xenfold_planned_host": "xen01", "xenfold_zone": "rack a", "xenfold_pool": "big-1",
        "xenfold_state": "unknown", "xenfold_plan": "in_place", "xenfold_step": None,
        "xenfold_guest": {"type": "pvh", "vcpus": 2, "memory_mib": 512}}
    assert {name: inventory.get_host(name).vars.get("ansible_host") for name in ("web01", "web02", "db01")} == {
        "web01": "10.9.0.51", "web02": None, "db01": "10.9.0.53"}
    assert [inventory.get_host(name).vars["xenfold_step"] for name in ("web02", "db01")] == [2, 1]
    # The estate's own hosts and variables stay with the estate.
    assert inventory.get_host("xen01") is None and "base" not in web01


def test_without_plan_and_audit_the_estate_has_the_word(tmp_path: Path) -> None:
    found = groups(listed(estate(tmp_path)))
    assert (found["plan_unplanned"], found["host_xen02"], found["state_unknown"]) == (
        ["db01", "web01", "web02"], ["web02"], ["db01", "web01", "web02"])
    assert not {"host_xen01", "planned_xen01"} & set(found)


@pytest.mark.parametrize(("domains", "options", "expected"), [
    ({"xen01": [domain("web01", 1)], "xen02": [domain("web02", 1, state="paused"), domain("old01", 2)]}, {}, {
        "host_xen01": ["web01"], "host_xen02": ["web02"], "state_running": ["web01"], "state_paused": ["web02"], "state_absent": ["db01"],
        "plan_in_place": ["web01"], "plan_to_move": ["web02"], "plan_to_start": ["db01"]}),
    # What moves, was left by a move, or has no name, is no guest; one that runs twice is where the plan wants it.
    ({"xen01": [domain("db01--incoming", 1), domain("", 2), domain("web02", 3)], "xen02": [domain("web02", 1), domain("web01", 2)]}, {}, {
        "host_xen01": ["web02"], "host_xen02": ["web01"], "state_running": ["web01"], "state_twice": ["web02"], "state_absent": ["db01"],
        "plan_in_place": ["web02"], "plan_to_move": ["web01"], "plan_to_start": ["db01"]}),
    # A host is lost, or was outside the limit: what it would have told is unknown.
    ({"xen01": [], "xen02": None}, {}, {
        "host_xen02": ["web02"], "state_unknown": ["db01", "web01", "web02"], "plan_unknown": ["web01"], "plan_to_move": ["web02"],
        "plan_to_start": ["db01"]}),
    ({"xen02": [domain("web01", 2, state="crashed")]}, {}, {
        "host_xen02": ["web01"], "state_crashed": ["web01"], "state_unknown": ["db01", "web02"], "plan_to_move": ["web01"],
        "plan_to_start": ["db01"], "plan_unknown": ["web02"]}),
    ({"xen01": [domain("old01", 1), domain("old9", 2)], "xen02": []}, {"unmanaged": True}, {
        "host_xen01": ["old01"], "state_running": ["old01"], "state_absent": ["db01", "web01", "web02"], "plan_unplanned": ["old01"],
        "plan_to_start": ["db01", "web01", "web02"]}),
    ({"xen01": [domain("db01", 1)], "xen02": []}, {"audit": False}, {
        "host_xen01": ["web01"], "host_xen02": ["web02"], "state_unknown": ["db01", "web01", "web02"], "plan_in_place": ["web01"],
        "plan_to_move": ["web02"], "plan_to_start": ["db01"]}),
])
def test_what_runs_comes_from_the_audit(
    tmp_path: Path, domains: dict[str, Any], options: dict[str, Any], expected: dict[str, list[str]],
) -> None:
    inventory = listed(estate(tmp_path, plan=PLAN, audit=audited(**domains)), **options)
    found = groups(inventory)
    assert {name: members for name, members in found.items() if name.startswith(("host_", "state_", "plan_"))} == expected
    if options.get("unmanaged"):
        assert inventory.get_host("old01").vars["xenfold_guest"] == {"type": None, "vcpus": None, "memory_mib": None}


def test_groups_and_variables_of_one_s_own(tmp_path: Path) -> None:
    folder = estate(tmp_path, plan=PLAN)
    (folder / "guests" / "host_vars").mkdir()
    (folder / "guests" / "host_vars" / "web02.yml").write_text("ansible_host: web02.example.org\n")
    inventory = listed(
        folder, strict=True, compose={"where": "xenfold_host | default('nowhere', true)"},
        groups={"large": "xenfold_guest.memory_mib > 1024"}, keyed_groups=[{"prefix": "type", "key": "xenfold_guest.type"}])
    found = groups(inventory)
    assert (found["large"], found["type_hvm"], found["type_pvh"]) == (["db01"], ["db01"], ["web01", "web02"])
    assert inventory.get_host("db01").vars["where"] == "nowhere"
    variables = VariableManager(loader=DataLoader(), inventory=inventory)
    assert variables.get_vars(host=inventory.get_host("web02"))["ansible_host"] == "web02.example.org"


@pytest.mark.parametrize("strict", [True, False])
def test_strict(tmp_path: Path, strict: bool, capsys: pytest.CaptureFixture[str]) -> None:
    folder = estate(tmp_path)
    if strict:
        assert "'nothing_such' is undefined" in refused(folder, capsys, strict=True, compose={"x": "nothing_such"})
    else:
        assert "x" not in listed(folder, compose={"x": "nothing_such"}).get_host("web01").vars


def test_a_source_in_the_folder_of_its_own_estate(tmp_path: Path) -> None:
    """Hosts and guests in one inventory, by the folder alone."""
    folder = estate(tmp_path)
    (folder / "lab" / "guests.xenfold.yml").write_text(yaml.safe_dump({"plugin": PLUGIN["plugin"], "plan_dir": "../build"}))
    inventory = InventoryManager(loader=DataLoader(), sources=[str(folder / "lab")])
    assert groups(inventory)["xen_guests"] == ["db01", "web01", "web02"]
    assert groups(inventory)["xen_hosts"] == ["xen01", "xen02"]


def test_the_plan_of_a_checkout_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = estate(tmp_path)
    monkeypatch.setattr(guests, "CHECKOUT", str(folder))
    (folder / "build" / "lab").mkdir()
    (folder / "build" / "lab" / "plan.json").write_text(json.dumps(PLAN))
    assert groups(listed(folder, plan_dir=None))["plan_in_place"] == ["web01"]
    assert groups(listed(folder, plan_dir=None, estate="../lab/hosts.yml"))["plan_in_place"] == ["web01"]


def test_values_out_of_a_vault(tmp_path: Path) -> None:
    folder, secret = estate(tmp_path), VaultSecret(b"secret")
    secret.load()
    text = yaml.safe_dump({"estate_workloads": WORKLOADS, "base": "10.9.0"})
    (folder / "lab" / "group_vars" / "all" / "estate.yml").write_bytes(VaultLib([("default", secret)]).encrypt(text))
    loader = DataLoader()
    loader.set_vault_secrets([("default", secret)])
    assert listed(folder, loader).get_host("web01").vars["ansible_host"] == "10.9.0.51"


@pytest.mark.parametrize(("changes", "options", "says"), [
    ({}, {"estate": "../none"}, "estate: value '../none', allowed an inventory: there is no "),
    ({}, {"group": "hosts"}, "group: value 'hosts', allowed a group of "),
    ({}, {"audit": "perhaps"}, "audit: value 'perhaps', allowed true or false"),
    ({}, {"unmanaged": 1}, "unmanaged: value 1, allowed true or false"),
    ({}, {"estat": "../lab"}, "estat: unknown key with value '../lab', allowed audit, compose, estate, group, groups, keyed_groups, "),
    ({}, {"plugin": "xenfold.consolidation.guest"}, "xenfold.consolidation.guest"),
    ({"hosts": {"xen_hosts": {"hosts": {"xen01": {"estate_host": "big"}}}}}, {},
     "host 'xen01': estate_host: value that is a text or number, allowed a mapping"),
    ({"hosts": {"xen_hosts": {"hosts": {"xen01": {"estate_host": "{{ nothing_such }}"}}}}}, {},
     "host 'xen01': estate_host: cannot be templated: 'nothing_such' is undefined"),
    ({"workloads": {"web01": {}}}, {}, "estate_workloads: value that is a mapping, allowed a list of workloads in group_vars/all"),
    ({"hosts": {"xen_hosts": {"hosts": {"xen01": {"estate_host": ["big"]}}}}}, {},
     "host 'xen01': estate_host: value that is a list, allowed a mapping"),
    ({"workloads": "{{ nothing_such }}"}, {}, "estate_workloads: cannot be templated: 'nothing_such' is undefined"),
    ({"workloads": [{"name": "web01"}, {"nam": "x"}]}, {}, "workload number 2: name: value None, allowed"),
    ({"workloads": ["web01"]}, {}, "workload number 1: is no mapping of keys and values"),
    ({"workloads": [{"name": "xen02", "memory_mib": 64}]}, {}, "guest 'xen02': has the name of a host of the estate"),
    ({"plan": "{"}, {}, "plan.json: Expecting property name"),
    ({"plan": "[" * 100000}, {}, "allowed a plan of playbooks/plan.yml"),
    ({"plan": {"schema": 2}}, {}, "plan.json: it is no plan with schema 1, allowed a plan of playbooks/plan.yml"),
    ({"audit": "{"}, {}, "audit.json: Expecting property name"),
    ({"audit": [1]}, {}, "audit.json: it is no audit with schema 1, allowed an audit of playbooks/audit.yml"),
    ({"audit": {"schema": 1, "hosts": {}}}, {}, "audit.json: it is no audit with schema 1"),
])
def test_what_is_wrong_is_named(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], says: str, capsys: pytest.CaptureFixture[str],
) -> None:
    said = refused(estate(tmp_path, **changes), capsys, **options)
    assert says in said
    assert f"{tmp_path}/" in said


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (estate(tmp_path) / "build" / "plan.json").mkdir()
    assert re.search(r"plan\.json: .*directory.*, allowed a plan of playbooks/plan\.yml", refused(tmp_path, capsys))


def test_an_inventory_without_workloads_is_no_estate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = estate(tmp_path)
    (folder / "lab" / "group_vars" / "all" / "estate.yml").unlink()
    assert "estate_workloads: missing, allowed a list of workloads" in refused(folder, capsys)


@pytest.mark.parametrize(("name", "is_source"), [
    ("guests.xenfold.yml", True), ("xenfold.yaml", True), ("guests.yml", False), ("guests.xenfold.yml.orig", False),
    ("none.xenfold.yml", False),
])
def test_files_that_are_sources(tmp_path: Path, name: str, is_source: bool) -> None:
    if not name.startswith("none"):
        (tmp_path / name).write_text("plugin: xenfold.consolidation.guests\n")
    assert guests.InventoryModule().verify_file(str(tmp_path / name)) is is_source


@pytest.mark.parametrize(("cmdline", "address"), [
    ("ip=10.9.0.51/24", "10.9.0.51"), ("console=hvc0 ip=192.0.2.7::192.0.2.1:255.255.255.0:web01:eth0:off", "192.0.2.7"),
    ("ip=[2001:db8::7]:: quiet", "2001:db8::7"), ("ip=dhcp", None), ("ip=10.9.0.999", None), ("vip=10.9.0.51", None),
    ("ip=10.9.0.51.example", None), ("", None), (None, None),
])
def test_addresses(cmdline: Any, address: str | None) -> None:
    assert guests.address_of(cmdline) == address

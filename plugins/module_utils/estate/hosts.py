# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks the variables of the hosts: each host by itself, then between hosts."""
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0_spec import AUTO, memory_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate import schema
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.findings import Findings, Path, shown
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.secrets import alike, plain, revealed
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.shape import check_shape
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import GATEWAYS, check_ifupdown, check_network
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import (
    ARRAY_SPEC,
    VOLUME_GROUP_SPEC,
    check_storage,
    check_volume_groups,
)

HostVars = Mapping[str, Any]

NETWORK_VARIABLES = {"bond": "network_bonds", "vlan": "network_vlans", "bridge": "network_bridges"}
STORAGE_VARIABLES = {"array": "storage_arrays", "volume group": "storage_volume_groups"}
STORAGE_SPECS = {"array": ARRAY_SPEC, "volume group": VOLUME_GROUP_SPEC}
LISTS = {**NETWORK_VARIABLES, **STORAGE_VARIABLES}
VARIABLES = ("estate_host", "dom0_vcpus", "dom0_memory_mib", *LISTS.values())
"""The variables of a host that the estate reads."""

_TITLE = re.compile(r"(?P<kind>[a-z ]+?) (?:'(?P<name>[^']*)'|number (?P<number>\d+)): (?P<key>\w+)")
_MEMBER = re.compile(r"members: (?P<key>id|serial): value (?P<value>.+), allowed once: ")
_ADDRESSING = ("addresses", *GATEWAYS, "nameservers")


def check_host(findings: Findings, name: str, host: HostVars) -> bool:
    """Check one host; true when its capacity can be computed and it can take part in checks between hosts."""
    before = len(findings.all)
    root: Path = ("hosts", name)
    told = host.get("estate_host")
    if told is None:
        findings.missing((*root, "estate_host"), "estate_host", "cpu_cores, memory_mib",
                         "what the planner needs of every host (docs/estate.md)")
    elif not isinstance(told, Mapping):
        findings.note((*root, "estate_host"), f"estate_host: value {shown(told)}, allowed a mapping of keys and values")
    else:
        _check_told(findings, (*root, "estate_host"), told)
    _check_dom0(findings, root, host, told if isinstance(told, Mapping) else {})
    for text in [*_network_errors(host), *_storage_errors(findings, root, host)]:
        findings.note(_path_of(root, text, host), text)
    return len(findings.all) == before


def _network_errors(host: HostVars) -> list[str]:
    """Errors of bonds, then with the VLANs, then with the bridges: what is wrong above does not hide what is wrong below."""
    bonds, vlans, bridges = (_addressable(host.get(variable) or []) for variable in NETWORK_VARIABLES.values())
    steps = (check_network(bonds, [], []), check_network(bonds, vlans, []), check_network(bonds, vlans, bridges))
    errors = list(dict.fromkeys(error for errors in steps for error in errors))
    if not errors and host.get("network_backend") == "ifupdown":
        return check_ifupdown(bonds, vlans, bridges)
    return errors


def _addressable(items: Any) -> Any:
    """Items with their addresses as texts that can be parsed; the report hides those out of a vault."""
    if not isinstance(items, list | tuple):
        return items
    return [
        {key: revealed(value) if key in _ADDRESSING else value for key, value in item.items()} if isinstance(item, Mapping) else item
        for item in items
    ]


def _storage_errors(findings: Findings, root: Path, host: HostVars) -> list[str]:
    """Errors between items, of each list whose items are sound by themselves; what is wrong with items is noted."""
    arrays, groups = (_storage_items(findings, root, host, kind) for kind in STORAGE_VARIABLES)
    if arrays is None:
        return check_volume_groups(groups or [])
    return check_storage(arrays, groups or [])


def _storage_items(findings: Findings, root: Path, host: HostVars, kind: str) -> Sequence[Any] | None:
    """The items of arrays or volume groups; None when they cannot be checked any further."""
    before = len(findings.all)
    items = _list(findings, root, host, STORAGE_VARIABLES[kind])
    for index, item in enumerate(items or []):
        path = (*root, STORAGE_VARIABLES[kind], index)
        name = item.get("name") if isinstance(item, Mapping) else None
        title = f"{kind} {str(name)!r}" if name is not None else f"{kind} number {index + 1}"
        if isinstance(item, Mapping):
            check_shape(findings, path, title, STORAGE_SPECS[kind], item)
        else:
            findings.note(path, f"{title}: value {shown(item)}, allowed a mapping of keys and values")
    return items if len(findings.all) == before else None


def _check_told(findings: Findings, path: Path, told: Mapping[str, Any]) -> None:
    schema.check_keys(findings, path, "estate_host", told, schema.HOST)
    typed = told["capacity"] if isinstance(told.get("capacity"), Mapping) else {}
    schema.check_resources(findings, (*path, "capacity"), "estate_host", "capacity", typed, schema.number())
    for resource in ("cpu_cores", "memory_mib"):
        if told.get(resource) is None and resource not in typed:
            findings.missing(path, "estate_host", resource, schema.HOST[resource].allowed)
    if isinstance(told.get("limits"), Mapping):
        schema.check_keys(findings, (*path, "limits"), "estate_host", told["limits"], schema.LIMITS, "limits.")
    nodes = told["numa_nodes"] if isinstance(told.get("numa_nodes"), list) else []
    for index, node in enumerate(nodes):
        _check_node(findings, (*path, "numa_nodes", index), f"numa_nodes[{index}]", node, nodes[0])
    watts = told.get("watts")
    if isinstance(watts, Mapping) and schema.check_keys(
        findings, (*path, "watts"), "estate_host", watts, schema.WATTS, "watts."
    ) and watts["busy"] < watts["idle"]:
        findings.wrong((*path, "watts", "busy"), "estate_host", "watts.busy", watts["busy"],
                       f"a number, {watts['idle']:g} (watts.idle) or more")


def _check_node(findings: Findings, path: Path, key: str, node: Any, first: Any) -> None:
    allowed = ", ".join(schema.NODE)
    if not isinstance(node, Mapping) or not node:
        findings.wrong(path, "estate_host", key, node, f"a mapping of {allowed} to numbers")
    elif schema.check_keys(findings, path, "estate_host", node, schema.NODE, f"{key}.") and isinstance(first, Mapping) and set(
            node) != set(first):
        findings.wrong(path, "estate_host", key, ", ".join(map(str, node)), f"what numa_nodes[0] names: {', '.join(map(str, first))}")


def _check_dom0(findings: Findings, root: Path, host: HostVars, told: Mapping[str, Any]) -> None:
    typed = told["capacity"] if isinstance(told.get("capacity"), Mapping) else {}
    for variable, total, resource in (
        ("dom0_vcpus", "cpu_cores", "cpu_cores"), ("dom0_memory_mib", "memory_mib", "memory_mib")
    ):
        key, value, whole = schema.DOM0[variable], host.get(variable), told.get(total)
        if value is None:
            if resource not in typed:
                findings.missing((*root, variable), "dom0", variable, f"{key.allowed}, of which {total} is reduced")
        elif not key.check(value):
            findings.wrong((*root, variable), "dom0", variable, value, key.allowed)
        elif value == AUTO and not schema.HOST[total].check(whole):
            findings.wrong((*root, variable), "dom0", variable, value, f"a number of MiB where estate_host.{total} is none")
        elif schema.HOST[total].check(whole) and memory_of(value, whole) > whole:
            findings.wrong((*root, variable), "dom0", variable, value, f"at most {whole:g}, estate_host.{total} of this host")


def _list(findings: Findings, root: Path, host: HostVars, variable: str) -> Sequence[Any] | None:
    """The items of a variable; None when it is no list."""
    value = host.get(variable)
    if value is None:
        return []
    if isinstance(value, Sequence) and not isinstance(value, str):
        return value
    findings.note((*root, variable), f"{variable}: value {shown(value)}, allowed a list")
    return None


def _path_of(root: Path, text: str, host: HostVars) -> Path:
    """Where the item stands that an error of the network's or storage's checks begins with."""
    twice = _MEMBER.match(text)
    if twice:
        found = [
            (*root, "storage_arrays", index, "members", number, twice["key"])
            for index, array in enumerate(host["storage_arrays"]) for number, member in enumerate(array["members"])
            if repr(member.get(twice["key"])) == twice["value"]
        ]
        return found[-1] if found else (*root, "storage_arrays")
    match = _TITLE.match(text)
    if not match or match["kind"] not in LISTS:
        begins = text.split(":", 1)[0]
        return (*root, {"volume groups": "storage_volume_groups"}.get(begins, begins))
    variable = LISTS[match["kind"]]
    items = host.get(variable) or []
    if match["number"]:
        return (*root, variable, int(match["number"]) - 1, match["key"])
    named = [index for index, item in enumerate(items) if isinstance(item, Mapping) and str(item.get("name")) == match["name"]]
    return (*root, variable, named[-1], match["key"]) if named else (*root, variable)


def check_between_hosts(findings: Findings, hosts: Mapping[str, HostVars]) -> dict[str, str]:
    """Addresses, cards and disks that two hosts claim. Returns who owns each hardware address, for the guests' check."""
    owners: dict[tuple[str, str], tuple[str, str]] = {}
    for name in sorted(hosts):
        for path, kind, key, value in _identities(name, hosts[name]):
            title = f"{kind[0]} {kind[1]!r}"
            owner = owners.setdefault((key, value), (name, title))
            if owner[0] != name:
                findings.wrong(path, title, key, value, f"one that no other host has, host '{owner[0]}' has it ({owner[1]})")
    return {value: f"{title} of host '{name}'" for (key, value), (name, title) in owners.items() if key == "mac"}


def _identities(name: str, host: HostVars) -> Iterator[tuple[Path, tuple[str, str], str, str]]:
    """(path, (kind, name of the item), key, value) of everything that may exist once in an estate."""
    for kind, variable in NETWORK_VARIABLES.items():
        for index, item in enumerate(host.get(variable) or []):
            title, path = (kind, str(item["name"])), _steps("hosts", name, variable, index)
            if item.get("mac"):
                yield (*path, "mac"), title, "mac", alike(item["mac"], item["mac"].lower())
            for number, member in enumerate(item.get("members") or []):
                if member.get("mac"):
                    yield (*path, "members", number, "mac"), title, "mac", alike(member["mac"], member["mac"].lower())
            for number, address in enumerate(item.get("addresses") or []):
                yield (*path, "addresses", number), title, "addresses", alike(address, address.split("/")[0].lower())
    for index, array in enumerate(host.get("storage_arrays") or []):
        disks = [(part, number, disk) for part in ("members", "spares") for number, disk in enumerate(array.get(part) or [])]
        for part, number, member in disks:
            key = "serial" if member.get("serial") else "id"
            if member.get(key):
                path = ("hosts", name, "storage_arrays", index, part, number, key)
                yield path, ("array", str(array["name"])), key, alike(member[key], plain(member[key]))


def _steps(*steps: str | int) -> Path:
    return steps


def offered(host: HostVars) -> list[str]:
    """Features of a host by which guests find their bridges and volume groups, besides those that it names itself."""
    told = (host.get("estate_host") or {}).get("features") or []
    bridges = [f"bridge:{plain(bridge['name'])}" for bridge in host.get("network_bridges") or []]
    groups = [f"volume_group:{plain(group['name'])}" for group in host.get("storage_volume_groups") or []]
    return sorted({*map(plain, told), *bridges, *groups})

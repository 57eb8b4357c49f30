# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From checked variables to what the planner and the guests' role take."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.estate import hosts as host_checks
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate import rules as rule_checks
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate import schema
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate import workloads as workload_checks
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.findings import Findings, shown
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.roles import Options, check_variables
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.secrets import plain, revealed, secrets_in
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import is_replicated
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing.capacity import (
    HostCapacity,
    at_least,
    capacity_of,
    link_limit_mbps,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing.guest_demand import demand_of, guest_disk_gib

ESTATE_VARIABLES = ("estate_workloads", "estate_rules", "estate_policy")
DRAINED, OFF = "estate_drained", "estate_off"
KNOWN_VARIABLES = ("estate_host", DRAINED, OFF, *ESTATE_VARIABLES)
DEFAULT_POOL = "default"
_PASSED = ("current", "movable", "storage", "live", "replica", "move_cost", "dirty_mbps")


def read_estate(
    hosts: Mapping[str, Mapping[str, Any]], variables: Mapping[str, Any], group: str = "xen_hosts",
    options: Options | None = None,
) -> tuple[Findings, dict[str, Any]]:
    """Check an estate and build its normalised form.

    hosts: variables of each host by name; variables: those of the whole estate; options: what the roles' argument specs have,
    to compare the hosts' variables with (None: they are not compared). Texts out of a vault are of type Secret.
    Returns the findings, and the estate {hosts, problem: {hosts, workloads, rules, policy}, guests}, which is empty when there are
    findings.
    """
    findings = Findings(secrets_in([hosts, variables]))
    if not hosts:
        findings.note(("estate",), f"group '{group}': hosts: value [], allowed at least one host in the inventory")
        return findings, {}
    for name in sorted(hosts):
        _check_names_of_variables(findings, ("hosts", name), hosts[name])
        _check_drained(findings, ("hosts", name), hosts[name].get(DRAINED))
        if not isinstance(hosts[name].get(OFF, False), bool):
            value = shown(hosts[name][OFF])
            findings.note(("hosts", name, OFF), f"{OFF}: value {value}, allowed true or false, as playbooks/power.yml writes it")
        if options is not None:
            check_variables(findings, ("hosts", name), hosts[name], options)
    _check_names_of_variables(findings, ("estate",), variables)
    usable = {name: hosts[name] for name in sorted(hosts) if host_checks.check_host(findings, name, hosts[name])}
    macs = host_checks.check_between_hosts(findings, usable)
    features = {name: host_checks.offered(host) for name, host in usable.items()}
    policy = variables.get("estate_policy")
    rule_checks.check_policy(findings, policy)
    workloads = _list(findings, variables, "estate_workloads", "a list of workloads in group_vars/all")
    if not isinstance(variables.get("estate_workloads"), list):
        return findings, {}
    twice = workload_checks.check_names(findings, workloads)
    sound = {
        index: workload_checks.complete(workload) for index, workload in enumerate(workloads)
        if workload_checks.check_workload(findings, (*workload_checks.ROOT, index), workload, index + 1) and index not in twice
    }
    workload_checks.check_between_workloads(findings, sound, macs)
    workload_checks.check_against_hosts(findings, sound, hosts, features)
    names = {plain(workload["name"]) for workload in workloads if isinstance(workload, Mapping) and "name" in workload}
    rules = _list(findings, variables, "estate_rules")
    rule_checks.check_rules(findings, list(rules), names, hosts)
    capacities = {name: capacity_of(revealed(host)) for name, host in usable.items()}
    if not findings:
        _check_resources(findings, capacities, sound)
        _check_policy_against_hosts(findings, usable, capacities, sound, policy or {})
    if findings:
        return findings, {}
    ready = revealed([usable, list(sound.values()), rules, policy or {}])
    return findings, _build(ready[0], capacities, features, *ready[1:])


def _list(findings: Findings, variables: Mapping[str, Any], name: str, needed: str = "") -> Sequence[Any]:
    value = variables.get(name)
    if isinstance(value, list):
        return value
    if value is not None:
        findings.note(("estate", name), f"{name}: value {shown(value)}, allowed a list")
    elif needed:
        findings.note(("estate", name), f"{name}: missing, allowed {needed}")
    return []


def _check_names_of_variables(findings: Findings, path: tuple[str, ...], variables: Mapping[str, Any]) -> None:
    for name in variables:
        if name.startswith("estate_") and name not in KNOWN_VARIABLES:
            findings.unknown((*path, name), "variables", name, variables[name], KNOWN_VARIABLES)


def _check_drained(findings: Findings, path: tuple[str, ...], value: Any) -> None:
    """The guests that a drain took from a host; some of them may be gone from the estate in the meantime."""
    if value is not None and not schema.texts().check(value):
        findings.note((*path, DRAINED), f"{DRAINED}: value {shown(value)}, allowed a list of guests, as playbooks/drain.yml writes it")


def _check_resources(
    findings: Findings, capacities: Mapping[str, HostCapacity], workloads: Mapping[int, Mapping[str, Any]]
) -> None:
    """What workloads demand must be known of the hosts: nothing is planned on a guess or on a resource that none has."""
    wanted: dict[str, int] = {}
    for index, workload in workloads.items():
        for resource in demand_of(workload):
            wanted.setdefault(resource, index)
    for name, capacity in capacities.items():
        for resource, (steps, problem) in sorted(capacity.unknown.items()):
            if resource in wanted:
                why = f"where workloads demand {resource}, or estate_host.capacity.{resource}"
                findings.note(("hosts", name, *steps), f"{problem} {why}")
    there = {resource for capacity in capacities.values() for resource in (*capacity.values, *capacity.unknown)}
    for resource, index in sorted(wanted.items()):
        if resource not in there and resource != "dom0_cores":
            workload = workloads[index]
            path = (*workload_checks.ROOT, index, *(["demand", resource] if resource in (workload.get("demand") or {}) else []))
            findings.note(path, f"{workload_checks.title(workload, index + 1)}: demand.{resource}: "
                          f"value {shown(demand_of(workload)[resource])}, allowed resources that some host has: "
                          f"{', '.join(sorted(there))}")


def _check_policy_against_hosts(
    findings: Findings, hosts: Mapping[str, Mapping[str, Any]], capacities: Mapping[str, HostCapacity],
    workloads: Mapping[int, Mapping[str, Any]], policy: Mapping[str, Any],
) -> None:
    """Resources that the policy names must exist; watts are needed of every host when they are the objective."""
    resources = {resource for capacity in capacities.values() for resource in capacity.values}
    resources |= {resource for workload in workloads.values() for resource in demand_of(workload)}
    for key in ("headroom", "overcommit"):
        for resource, value in (policy.get(key) or {}).items():
            if resource not in resources:
                findings.wrong(("estate", "estate_policy", key, resource), "policy", f"{key}.{resource}", value,
                               f"resources of the estate: {', '.join(sorted(resources))}")
    if policy.get("objective") == "watts":
        for name, host in hosts.items():
            if not host["estate_host"].get("watts"):
                findings.missing(("hosts", name, "estate_host"), "estate_host", "watts", "idle and busy (the objective is watts)")


def _copies_gib(workloads: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Host -> volume group -> GiB of replicated disks. They are on both of their hosts, wherever their guests run."""
    found: dict[str, dict[str, float]] = {}
    for workload in filter(is_replicated, workloads):
        for host in (workload["current"], workload["replica"]):
            sizes = found.setdefault(host, {})
            for group, size_gib in guest_disk_gib(workload).items():
                sizes[group] = sizes.get(group, 0.0) + size_gib
    return found


def _build(
    hosts: Mapping[str, Mapping[str, Any]], capacities: Mapping[str, HostCapacity], features: Mapping[str, list[str]],
    workloads: list[Mapping[str, Any]], rules: Sequence[Any], policy: Mapping[str, Any],
) -> dict[str, Any]:
    """The estate in its normalised form; hosts and guests by name, workloads sorted by name."""
    split = any(len(capacity.volume_groups_gib) > 1 for capacity in capacities.values())
    ordered = sorted(workloads, key=lambda workload: str(workload["name"]))
    copies = _copies_gib(ordered)
    normal = {name: _host(name, host, capacities[name], features[name], split, copies.get(name, {})) for name, host in hosts.items()}
    planned = [{"name": name, **{key: host[key] for key in host if key != "capacity_from"}} for name, host in normal.items()]
    return {
        "hosts": normal,
        "problem": {
            "hosts": planned,
            "workloads": [_workload(workload, split) for workload in ordered],
            "rules": [*(_given(rule) for rule in rules), *_fences(ordered)],
            "policy": _given(policy),
        },
        "guests": {
            str(workload["name"]): workload_checks.guest_definition(workload)
            for workload in ordered if workload_checks.is_guest(workload)
        },
    }


def _fences(workloads: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Guests with replicated disks are on one of the two hosts that have them."""
    return [{"rule": "fence", "workloads": [str(workload["name"])], "hosts": sorted((workload["current"], workload["replica"]))}
            for workload in workloads if is_replicated(workload)]


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _host(
    name: str, host: Mapping[str, Any], capacity: HostCapacity, features: list[str], split: bool, copies_gib: Mapping[str, float],
) -> dict[str, Any]:
    told = host["estate_host"]
    values, sources = dict(capacity.values), dict(capacity.sources)
    if split:
        # Guests cannot use the room of another volume group, so each is a resource of its own besides the total.
        for group, size_gib in capacity.volume_groups_gib.items():
            values.setdefault(f"disk_gib:{group}", size_gib)
            sources.setdefault(f"disk_gib:{group}", f"arrays of volume group {group}")
    limits: dict[str, Any] = {}
    if told.get("cpu_cores") is not None:
        limits["vcpus"] = int(told["cpu_cores"])
    link_mbps = link_limit_mbps(host)
    if link_mbps is not None:
        limits["link_mbps"] = link_mbps
    limits.update(_given(told.get("limits") or {}))
    result: dict[str, Any] = {
        "capacity": dict(sorted(values.items())),
        "capacity_from": dict(sorted(sources.items())),
        "pool": told.get("pool") or DEFAULT_POOL,
        "zone": told.get("zone") or name,
        "state": "drain" if host.get(DRAINED) is not None or host.get(OFF) else told.get("state") or "active",
        "features": features,
        "limits": dict(sorted(limits.items())),
    }
    if copies_gib:
        reserved = {"disk_gib": sum(copies_gib.values())} | {f"disk_gib:{group}": size_gib for group, size_gib in copies_gib.items()}
        result["reserved"] = {resource: at_least(size_gib) for resource, size_gib in sorted(reserved.items()) if resource in values}
    if told.get("watts"):
        result["watts"] = dict(sorted(told["watts"].items()))
    if told.get("numa_nodes"):
        result["numa_nodes"] = [dict(sorted(node.items())) for node in told["numa_nodes"]]
    return result


def _workload(workload: Mapping[str, Any], split: bool) -> dict[str, Any]:
    """One workload as the module `placement` takes it."""
    demand = demand_of(workload)
    if is_replicated(workload):
        # Both of its hosts have them reserved.
        demand.pop("disk_gib", None)
    elif split:
        demand.update({f"disk_gib:{group}": size for group, size in guest_disk_gib(workload).items()})
    result: dict[str, Any] = {"name": str(workload["name"]), "demand": dict(sorted(demand.items()))}
    result.update({key: workload[key] for key in _PASSED if workload.get(key) is not None})
    result.setdefault("storage", "local")
    if workload_checks.tied_by(workload):
        result["movable"] = False
    # A PV guest migrates live only under a Xen with shadow paging, which Debian's builds of Xen 4.17.7 and 4.20.4 lack.
    result.setdefault("live", workload.get("type") != "pv")
    if workload.get("vcpus") is not None:
        result["vcpus"] = workload["vcpus"]
    if workload_checks.is_guest(workload):
        # What a move costs is the memory that is copied, not what the planner adds to be safe.
        result.setdefault("move_cost", workload["memory_mib"])
    requires = workload_checks.required_features(workload)
    if requires:
        result["requires"] = requires
    return result


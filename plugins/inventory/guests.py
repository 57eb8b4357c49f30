# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: guests
short_description: The guests of an estate as hosts
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Lists the guests of an estate as Ansible hosts, grouped by Xen host, zone, pool, state and plan, so that other playbooks can use them.
  - Reads the estate's own inventory, C(plan.json), and C(audit.json) for what runs. Contacts nobody; how fresh the states are is how fresh
    the last audit is.
  - The source is a YAML file whose name ends in C(xenfold.yml) or C(xenfold.yaml), such as C(guests.xenfold.yml).
  - All guests are in the group C(xen_guests). The others are C(host_NAME), the Xen host where the guest is as far as is known,
    C(planned_NAME), where the plan wants it, C(zone_NAME), C(pool_NAME), C(state_NAME) and C(plan_NAME), with what no group name may hold
    as C(_).
  - Variables of a guest are C(xenfold_host), C(xenfold_planned_host), C(xenfold_zone) and C(xenfold_pool) (of C(xenfold_host)),
    C(xenfold_state), C(xenfold_plan), C(xenfold_step) (of the plan, where it is moved or made) and C(xenfold_guest) (C(type), C(vcpus) and
    C(memory_mib)). What is not known is null.
  - C(xenfold_state) is a state of xl, V(twice) for one that runs on two hosts, V(absent) for one that is on none, V(unknown) where no
    audit tells.
  - C(xenfold_plan) is V(in_place), V(to_move), V(to_start) for one that is on no host, V(unplanned), or V(unknown) where nobody can tell.
    What an audit found counts first, then where the moves of the plan begin, then C(current) of the workload.
  - C(ansible_host) is the address that the C(cmdline) of the guest's C(boot) gives its kernel by C(ip=). Set it by O(compose), or in
    C(host_vars) beside the source, where the estate tells none.
options:
  plugin:
    description: Says that the file is a source of this plugin.
    type: str
    required: true
    choices: [xenfold.consolidation.guests]
  estate:
    description: The inventory of the estate, a folder or a file, relative to the folder of the source.
    type: str
    default: .
  group:
    description: The group of the Xen hosts in that inventory.
    type: str
    default: xen_hosts
  plan_dir:
    description:
      - The folder with C(plan.json) and C(audit.json), relative to the folder of the source. C(build/NAME) of the checkout when left out,
        where playbooks write them; C(NAME) is the folder of O(estate). Either file may be missing.
    type: str
  audit:
    description: Whether the states that C(audit.json) tells are used.
    type: bool
    default: true
  unmanaged:
    description: Whether guests that the audit found and the estate does not know are listed, too; their plan is V(unplanned).
    type: bool
    default: false
extends_documentation_fragment:
  - constructed
"""

EXAMPLES = r"""
# inventories/lab-guests/guests.xenfold.yml: ansible-inventory -i inventories/lab-guests --graph
plugin: xenfold.consolidation.guests
estate: ../lab

# Guests by name in the DNS, and a group of all that are large.
---
plugin: xenfold.consolidation.guests
estate: ../example
compose:
  ansible_host: inventory_hostname ~ '.example.org'
groups:
  large: xenfold_guest.memory_mib | default(0, true) >= 16384
keyed_groups:
  - {prefix: type, key: xenfold_guest.type}
"""

import ipaddress
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.inventory.group import to_safe_group_name
from ansible.inventory.manager import InventoryManager
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable
from ansible.template import Templar
from ansible.vars.manager import VariableManager
from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.planned import Planned, parse
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.build import DEFAULT_POOL
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.findings import shown
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.workloads import is_guest
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.schema import check_name
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import INCOMING, LEFT

NAME = "xenfold.consolidation.guests"
CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
EVERYBODY = "xen_guests"
KEYS = {"host": "host", "planned": "planned_host", "zone": "zone", "pool": "pool", "state": "state", "plan": "plan"}
"""Prefix of groups -> variable without its own."""

_ADDRESS = re.compile(r"(?:^|\s)ip=(\[[0-9A-Fa-f:.]+\]|[0-9.]+)(?=[:/\s]|$)")
_reading: set[str] = set()
"""Sources that are being read: one that lies in the folder of its own estate comes up again when that is read."""


def address_of(cmdline: Any) -> str | None:
    """The address in the words for a guest's kernel (`ip=`, Linux's nfsroot.rst), with a length of its prefix or not."""
    match = _ADDRESS.search(cmdline) if isinstance(cmdline, str) else None
    try:
        return str(ipaddress.ip_address(match[1].strip("[]"))) if match else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Seen:
    """What an audit found. guests: guest -> host -> state; hosts: those that told; complete: whether these are all."""

    guests: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset()
    complete: bool = False


def seen(text: str | None) -> Seen:
    """What an audit of that text found, None for none. Raises ValueError for what is no audit."""
    if text is None:
        return Seen()
    audit = json.loads(text)
    hosts = audit.get("hosts") if isinstance(audit, Mapping) else None
    if not isinstance(hosts, Mapping) or audit.get("schema") != 1 or not isinstance(audit.get("not_asked"), list):
        raise ValueError("it is no audit with schema 1")
    found: dict[str, dict[str, str]] = {}
    told = {host: entry["guests"] for host, entry in hosts.items()
            if isinstance(entry, Mapping) and isinstance(entry.get("guests"), Mapping)}
    for host, guests in told.items():
        for name, state in guests.items():
            # A copy that moves, or was left behind by a move, is not the guest.
            if not name.endswith((INCOMING, LEFT)):
                found.setdefault(name, {})[host] = str(state)
    return Seen(found, frozenset(told), len(told) == len(hosts) and not audit["not_asked"])


def described(name: str, current: Any, hosts: Mapping[str, Mapping[str, str]], planned: Planned, audited: Seen) -> dict[str, Any]:
    """The variables of a guest without their prefix. current: of the workload; hosts: {zone, pool} by name."""
    goal, move, found = planned.hosts.get(name), planned.moves.get(name), audited.guests.get(name, {})
    here: str | None
    if found:
        alive = [host for host in sorted(found) if found[host] in ("running", "paused")] or sorted(found)
        here = goal if goal in alive else alive[0]
        state = "twice" if len(alive) > 1 else found[alive[0]]
    else:
        state = "absent" if audited.complete else "unknown"
        here = move["from"] if move else goal or current
        here = None if audited.complete or here in audited.hosts else here
    to_start = audited.complete or (move is not None and move["from"] is None)
    plan = ("unplanned" if goal is None else "in_place" if here == goal else "to_move" if here else "to_start" if to_start else "unknown")
    place = hosts.get(here or "", {})
    return {"host": here, "planned_host": goal, "zone": place.get("zone"), "pool": place.get("pool"), "state": state, "plan": plan,
            "step": move["step"] if move and plan in ("to_move", "to_start") else None}


def _kind(value: Any) -> str:
    """What a value is, without the value, which may come out of a vault."""
    return "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else "a text or number"


class InventoryModule(BaseInventoryPlugin, Constructable):
    """The source of guests."""

    NAME = NAME

    def verify_file(self, path: str) -> bool:
        """Whether the plugin reads a file, by its name."""
        return bool(super().verify_file(path)) and path.endswith(("xenfold.yml", "xenfold.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Add the guests of the source at `path`. Raises AnsibleParserError, which names the file and what is wrong in it."""
        super().parse(inventory, loader, path, cache)
        source = os.path.realpath(path)
        if source in _reading:
            return
        self._check(path, self._read_config_data(path))
        folder = os.path.dirname(source)
        estate = os.path.normpath(os.path.join(folder, self.get_option("estate")))
        _reading.add(source)
        try:
            hosts, workloads = self._estate(path, estate)
        finally:
            _reading.remove(source)
        name = os.path.basename(estate if os.path.isdir(estate) else os.path.dirname(estate))
        plan_dir = os.path.join(folder, self.get_option("plan_dir") or os.path.join(CHECKOUT, "build", name))
        planned = self._file(os.path.join(plan_dir, "plan.json"), parse, "a plan of playbooks/plan.yml")
        audit = os.path.join(plan_dir, "audit.json") if self.get_option("audit") else None
        audited = self._file(audit, seen, "an audit of playbooks/audit.yml")
        guests = {workload["name"]: workload for workload in workloads if is_guest(workload)}
        names = {str(workload["name"]) for workload in workloads}
        others = sorted(set(audited.guests) - names) if self.get_option("unmanaged") else []
        for guest in [*sorted(guests), *others]:
            if guest in hosts:
                raise AnsibleParserError(f"{path}: guest {guest!r}: has the name of a host of the estate, allowed a name of its own")
            workload = guests.get(guest, {})
            self._add(guest, workload, described(guest, workload.get("current"), hosts, planned, audited))

    def _check(self, path: str, source: Mapping[str, Any]) -> None:
        """Ansible ignores keys that it does not know, and takes every text for a bool."""
        options = self.get_options()
        for key, value in source.items():
            if key not in options:
                raise AnsibleParserError(f"{path}: {key}: unknown key with value {shown(value)}, allowed {', '.join(sorted(options))}")
            if key in ("audit", "unmanaged") and not isinstance(value, bool):
                raise AnsibleParserError(f"{path}: {key}: value {shown(value)}, allowed true or false")

    def _add(self, name: str, workload: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        self.inventory.add_host(name, group=self.inventory.add_group(EVERYBODY))
        for key, value in values.items():
            self.inventory.set_variable(name, f"xenfold_{key}", value)
        sizes = {"type": workload.get("type") or "pvh", "vcpus": workload.get("vcpus") or 1} if workload else {"type": None, "vcpus": None}
        self.inventory.set_variable(name, "xenfold_guest", {**sizes, "memory_mib": workload.get("memory_mib")})
        boot = workload.get("boot")
        address = address_of(boot.get("cmdline")) if isinstance(boot, Mapping) else None
        if address:
            self.inventory.set_variable(name, "ansible_host", address)
        for prefix, key in KEYS.items():
            if values[key] is not None:
                group = to_safe_group_name(f"{prefix}_{values[key]}", force=True, silent=True)
                self.inventory.add_child(self.inventory.add_group(group), name)
        strict, variables = self.get_option("strict"), self.inventory.get_host(name).get_vars()
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        variables = self.inventory.get_host(name).get_vars()
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)

    def _estate(self, path: str, estate: str) -> tuple[dict[str, dict[str, str]], Sequence[Mapping[str, Any]]]:
        """Host -> {zone, pool}, and the workloads, of the inventory of an estate."""
        group = self.get_option("group")
        if not os.path.exists(estate):
            raise AnsibleParserError(f"{path}: estate: value {self.get_option('estate')!r}, allowed an inventory: there is no {estate}")
        inventory = InventoryManager(loader=self.loader, sources=[estate])
        if group not in inventory.groups or not inventory.groups[group].get_hosts():
            raise AnsibleParserError(f"{path}: group: value {group!r}, allowed a group of {estate} that has hosts")
        variables = VariableManager(loader=self.loader, inventory=inventory)
        hosts = {}
        for host in sorted(inventory.groups[group].get_hosts(), key=str):
            told = self._templated(path, variables.get_vars(host=host, include_hostvars=False), "estate_host", f"host {host.name!r}") or {}
            if not isinstance(told, Mapping):
                raise AnsibleParserError(f"{path}: host {host.name!r}: estate_host: value that is {_kind(told)}, allowed a mapping")
            hosts[str(host.name)] = {"zone": str(told.get("zone") or host.name), "pool": str(told.get("pool") or DEFAULT_POOL)}
        everywhere = variables.get_vars(host=inventory.get_host("localhost"), include_hostvars=False)
        workloads = self._templated(path, everywhere, "estate_workloads", f"estate {estate}")
        if not isinstance(workloads, list):
            given = "missing" if workloads is None else f"value that is {_kind(workloads)}"
            raise AnsibleParserError(f"{path}: estate {estate}: estate_workloads: {given}, allowed a list of workloads in group_vars/all")
        for number, workload in enumerate(workloads, 1):
            wrong = check_name(workload.get("name")) if isinstance(workload, Mapping) else "is no mapping of keys and values"
            if wrong:
                raise AnsibleParserError(f"{path}: estate {estate}: workload number {number}: {wrong}")
        return hosts, workloads

    def _templated(self, path: str, variables: dict[str, Any], name: str, item: str) -> Any:
        if name not in variables:
            return None
        try:
            return Templar(loader=self.loader, variables=variables).template(variables[name])
        except AnsibleError as error:
            raise AnsibleParserError(f"{path}: {item}: {name}: cannot be templated: {error.message}") from error

    @staticmethod
    def _file(path: str | None, read: Any, allowed: str) -> Any:
        """What `read` makes of a file's text, None for no file."""
        try:
            with open(path or os.devnull, encoding="utf-8") as stream:
                text = stream.read() if path else None
        except FileNotFoundError:
            text = None
        except (OSError, ValueError) as error:
            raise AnsibleParserError(f"{path}: {error}, allowed {allowed}") from error
        try:
            return read(text)
        except (ValueError, RecursionError) as error:
            raise AnsibleParserError(f"{path}: {error}, allowed {allowed}") from error

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the estate from the inventory on the control node; contacts nobody. Documented in plugins/modules/estate.py."""
from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.build import ESTATE_VARIABLES, read_estate
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.findings import Findings, Path
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.hosts import VARIABLES

try:  # ansible-core 2.19 knows where each value was written and what came out of a vault, but offers no public way to ask.
    from ansible._internal._datatag._tags import Origin, VaultedValue
except ImportError:
    Origin = VaultedValue = None


class Secret(str):
    """A text out of a vault: checked like any other, but messages quote values by their repr."""

    def __repr__(self) -> str:
        return "'(vaulted)'"


class ActionModule(ActionBase):
    """`estate`: group -> {hosts, problem, guests}."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read, check and return the estate, or everything that is wrong with it."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _, arguments = self.validate_argument_spec({"group": {"type": "str", "default": "xen_hosts"}})
        unreadable = Findings()
        names = task_vars["groups"].get(arguments["group"], [])
        hosts = {str(name): self._host(unreadable, task_vars["hostvars"][name], str(name)) for name in names}
        variables = self._variables(unreadable, task_vars)
        findings, estate = (unreadable, {}) if unreadable else read_estate(_veiled(hosts), _veiled(variables), arguments["group"])
        if findings:
            document = {"hosts": hosts, "estate": variables}
            return {"failed": True, "msg": findings.report(lambda path, at_key: _place(document, path, at_key))}
        # Through JSON and back: plain values, without the tags that ansible-core puts on them.
        return {"changed": False, "estate": json.loads(json.dumps({"name": _name(task_vars), **estate}))}

    def _host(self, findings: Findings, host: Mapping[str, Any], name: str) -> dict[str, Any]:
        wanted = [variable for variable in host if variable in VARIABLES or variable.startswith("estate_")]
        wanted = [variable for variable in wanted if variable not in ESTATE_VARIABLES]
        return _read(findings, ("hosts", name), wanted, host.__getitem__)

    def _variables(self, findings: Findings, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        wanted = [variable for variable in task_vars if variable.startswith("estate_")]
        return _read(findings, ("estate",), wanted, lambda variable: self._templar.template(task_vars[variable]))


def _read(findings: Findings, path: Path, names: list[str], get: Any) -> dict[str, Any]:
    """Values by name; one that cannot be templated is a finding and None."""
    values: dict[str, Any] = {}
    for name in names:
        try:
            values[name] = get(name)
        except AnsibleError as error:
            values[name] = None
            findings.note((*path, name), f"{name}: cannot be templated: {error.message}")
    return values


def _veiled(value: Any) -> Any:
    """The same values with those out of a vault as Secret."""
    if isinstance(value, Mapping):
        return {key: _veiled(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_veiled(part) for part in value]
    vaulted = VaultedValue is not None and isinstance(value, str) and VaultedValue.is_tagged_on(value)
    return Secret(value) if vaulted else value


def _name(task_vars: Mapping[str, Any]) -> str:
    """The estate's name: the folder of the (first) inventory."""
    sources = [str(source) for source in task_vars.get("ansible_inventory_sources") or []]
    first = sources[0] if sources and "," not in sources[0] else ""
    folder = first if os.path.isdir(first) else os.path.dirname(first)
    return os.path.basename(os.path.normpath(folder)) if folder else "estate"


def _place(document: Any, path: Path, at_key: bool) -> tuple[str, int] | None:
    """File and line of the deepest step of a path that ansible-core knows the origin of.

    at_key: the last step is asked for as a key; where its value comes from (a template, say) does not matter.
    """
    if Origin is None:
        return None
    value, found = document, None
    for depth, step in enumerate(path, 1):
        if isinstance(value, Mapping):
            found = next((Origin.get_tag(key) for key in value if key == step and Origin.get_tag(key)), found)
            if step not in value:
                break
        elif not (isinstance(value, list) and isinstance(step, int) and step < len(value)):
            break
        value = value[step]
        if depth < len(path) or not at_key:
            found = Origin.get_tag(value) or found
    if found is None:
        return None
    if not found.path:
        return (str(found.description), 0)
    relative = os.path.relpath(found.path)
    return (found.path if relative.startswith("..") else relative, found.line_num or 0)

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the estate from the inventory on the control node; contacts nobody. Documented in plugins/modules/estate.py."""
from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.vault import EncryptedString
from ansible.plugins.action import ActionBase
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.build import ESTATE_VARIABLES, read_estate
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.findings import Findings, Path
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.hosts import VARIABLES
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.roles import PREFIXES, read_options
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.secrets import Mask, Secret, secrets_in

try:  # ansible-core 2.19 knows where each value was written and what came out of a vault, but offers no public way to ask.
    from ansible._internal._datatag._tags import Origin, VaultedValue
except ImportError:
    Origin = VaultedValue = None

ROLES = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "roles")
UNREADABLE = "(cannot be templated)"


class ActionModule(ActionBase):
    """`estate`: group -> {hosts, problem, guests}, and whether anything of it came out of a vault."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read, check and return the estate, or everything that is wrong with it."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _, arguments = self.validate_argument_spec({"group": {"type": "str", "default": "xen_hosts"}})
        names = task_vars["groups"].get(arguments["group"], [])
        raw = [task_vars, *(task_vars["hostvars"].raw_get(name) for name in names)]
        vaulted = _vaulted_texts([value for variables in raw for key, value in variables.items() if key not in _NO_VARIABLES])
        unreadable, options = Findings(vaulted), read_options(ROLES)
        hosts = {str(name): self._host(unreadable, task_vars["hostvars"][name], str(name), options) for name in names}
        variables = self._variables(unreadable, task_vars)
        mask = Mask(vaulted)
        veiled_hosts, veiled_variables = _veiled(hosts, mask), _veiled(variables, mask)
        findings, estate = (unreadable, {}) if unreadable else read_estate(
            veiled_hosts, veiled_variables, arguments["group"], options=options)
        if findings:
            document = {"hosts": hosts, "estate": variables}
            return {"failed": True, "msg": findings.report(lambda path, at_key: _place(document, path, at_key))}
        # Through JSON and back: plain values, without the tags that ansible-core puts on them.
        secret = bool(secrets_in([veiled_hosts, veiled_variables]))
        result = {"changed": False, "contains_secrets": secret, "estate": json.loads(json.dumps({"name": _name(task_vars), **estate}))}
        return {**result, "_ansible_no_log": True} if secret else result

    def _host(self, findings: Findings, host: Mapping[str, Any], name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        wanted = [variable for variable in host if variable in VARIABLES or variable.startswith("estate_")]
        wanted = [variable for variable in wanted if variable not in ESTATE_VARIABLES]
        values = _read(findings, ("hosts", name), wanted, host.__getitem__)
        # The planner reads no others: one that only the host's own run can template is none of its business.
        others = [variable for variable in host if variable.startswith(PREFIXES) and variable not in values]
        checked = [variable for variable in others if variable not in options or options[variable].get("choices")]
        quiet = _read(Findings(), ("hosts", name), checked, host.__getitem__, UNREADABLE)
        return values | {variable: value for variable, value in quiet.items() if value != UNREADABLE or variable not in options}

    def _variables(self, findings: Findings, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        wanted = [variable for variable in task_vars if variable.startswith("estate_")]
        return _read(findings, ("estate",), wanted, lambda variable: self._templar.template(task_vars[variable]))


def _read(findings: Findings, path: Path, names: list[str], get: Any, instead: Any = None) -> dict[str, Any]:
    """Values by name; one that cannot be templated is a finding and `instead`."""
    values: dict[str, Any] = {}
    for name in names:
        try:
            values[name] = get(name)
        except AnsibleError as error:
            values[name] = instead
            findings.note((*path, name), f"{name}: cannot be templated: {error.message}")
    return values


_NO_VARIABLES = ("hostvars", "vars", "groups")


def _vaulted_texts(values: Iterable[Any]) -> set[str]:
    """Every text out of a vault in variables before they are templated; what has no password here cannot come up here."""
    texts: set[str] = set()
    seen: dict[int, Any] = {}
    rest = list(values)
    while rest:
        value = rest.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, Mapping):
            rest.extend(value.values())
        elif isinstance(value, list | tuple):
            rest.extend(value)
        elif isinstance(value, EncryptedString):
            try:
                texts.add(str(value))
            except AnsibleError:
                continue
        elif isinstance(value, str) and _out_of_vault(value):
            texts.add(str(value))
    return texts


def _out_of_vault(text: str) -> bool:
    """Whether a text was encrypted by itself or stands in a file that is."""
    if VaultedValue is not None and VaultedValue.is_tagged_on(text):
        return True
    origin = Origin.get_tag(text) if Origin is not None else None
    return bool(origin and origin.path and _encrypted(origin.path))


@functools.cache
def _encrypted(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(14) == b"$ANSIBLE_VAULT"
    except OSError:
        return False


def _veiled(value: Any, mask: Mask) -> Any:
    """The same values with those out of a vault, and those that hold such a text, as Secret."""
    if isinstance(value, Mapping):
        return {key: _veiled(part, mask) for key, part in value.items()}
    if isinstance(value, list):
        return [_veiled(part, mask) for part in value]
    return Secret(value) if isinstance(value, str) and (_out_of_vault(value) or mask.covers(value)) else value


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

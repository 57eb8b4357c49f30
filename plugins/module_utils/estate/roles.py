# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks the names, and the values with choices, of the variables that belong to the roles of hosts."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as Folder
from typing import Any

import yaml
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.findings import Findings, Path

PREFIXES = ("dom0_", "guests_", "migration_", "network_", "power_", "storage_")
"""Variables of hosts that begin so belong to the roles of these names."""

HIDDEN = "(not shown)"
"""In place of the value of a mistyped password: what is called so, more or less."""

Options = Mapping[str, Mapping[str, Any]]


def read_options(folder: str) -> dict[str, dict[str, Any]]:
    """The options by name that the argument specs of the roles in a folder have, of those that begin with a prefix."""
    options: dict[str, dict[str, Any]] = {}
    for file in sorted(Folder(folder).glob("*/meta/argument_specs.yml")):
        for entry in yaml.safe_load(file.read_text(encoding="utf-8"))["argument_specs"].values():
            options.update({name: rule for name, rule in (entry.get("options") or {}).items() if name.startswith(PREFIXES)})
    return options


def check_variables(findings: Findings, root: Path, variables: Mapping[str, Any], options: Options) -> None:
    """Note variables with a role's prefix that no role reads, and values outside of the choices of those with choices."""
    for name, value in variables.items():
        prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), None)
        if prefix is None:
            continue
        if name not in options:
            known = [option for option in options if option.startswith(prefix)]
            findings.unknown((*root, name), "variables", name, HIDDEN if "pas" in name else value, known)
        elif options[name].get("choices") and value is not None:
            _check_choices(findings, (*root, name), name, value, options[name])


def _check_choices(findings: Findings, path: Path, name: str, value: Any, rule: Mapping[str, Any]) -> None:
    allowed, item = rule["choices"], f"role {name.split('_', maxsplit=1)[0]}"
    if rule["type"] != "list":
        if value not in allowed:
            findings.wrong(path, item, name, value, ", ".join(map(str, allowed)))
        return
    # Ansible takes a text with commas for a list.
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list):
        findings.wrong(path, item, name, value, f"a list of {', '.join(map(str, allowed))}")
        return
    for number, part in enumerate(parts):
        if part not in allowed:
            place = path if isinstance(value, str) else (*path, number)
            findings.wrong(place, item, f"{name}[{number}]", part, ", ".join(map(str, allowed)))

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks values against a module's argument spec without converting them, with the place of every error.

Ansible's own validator turns "4" into 4 and true into "True", names neither item nor value, and stops at the first error of
a list; an inventory deserves better, and the same spec can serve both.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.findings import Findings, Path
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.schema import is_number, is_whole

Spec = Mapping[str, Mapping[str, Any]]

_TYPES = {
    "str": (lambda value: isinstance(value, str), "a text (in quotes where it looks like a number)"),
    "int": (is_whole, "a whole number"),
    "float": (is_number, "a number"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "list": (lambda value: isinstance(value, list), "a list"),
    "dict": (lambda value: isinstance(value, Mapping), "a mapping of keys and values"),
}


def check_shape(findings: Findings, path: Path, item: str, spec: Spec, values: Mapping[str, Any], prefix: str = "") -> None:
    """Note unknown and missing keys, wrong types and values outside of choices; null counts as not given."""
    for key in values:
        if key not in spec:
            findings.unknown((*path, key), item, f"{prefix}{key}", values[key], spec)
    for key, rule in spec.items():
        value = values.get(key)
        if value is not None:
            _check_value(findings, (*path, key), item, prefix + key, rule, value)
        elif rule.get("required"):
            findings.missing(path, item, prefix + key, f"{_TYPES[rule['type']][1]}, it is required")


def _check_value(findings: Findings, path: Path, item: str, key: str, rule: Mapping[str, Any], value: Any) -> None:
    fits, words = _TYPES[rule["type"]]
    if not fits(value):
        findings.wrong(path, item, key, value, words)
    elif "choices" in rule and value not in rule["choices"]:
        findings.wrong(path, item, key, value, ", ".join(map(str, rule["choices"])))
    elif rule["type"] == "list":
        element = {"type": rule.get("elements", "str"), "options": rule.get("options")}
        for index, part in enumerate(value):
            _check_value(findings, (*path, index), item, f"{key}[{index}]", element, part)
    elif rule["type"] == "dict" and rule.get("options"):
        check_shape(findings, path, item, rule["options"], value, f"{key}.")

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks rules and policy by themselves and against the names of the estate."""
from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.estate import schema
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.findings import Findings, shown
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.workloads import names_text


def check_rules(findings: Findings, rules: list[Any], workloads: Collection[str], hosts: Collection[str]) -> None:
    """Check each rule; workloads, hosts: the names that exist."""
    for index, rule in enumerate(rules):
        path, item = ("estate", "estate_rules", index), f"rule number {index + 1}"
        if not isinstance(rule, Mapping):
            findings.note(path, f"{item}: value {shown(rule)}, allowed a mapping of keys and values")
            continue
        kind = rule.get("rule")
        if not isinstance(kind, str) or kind not in schema.RULES:
            where = (*path, "rule") if "rule" in rule else path
            findings.wrong(where, item, "rule", kind, ", ".join(schema.RULES))
            continue
        item = f"{item} ({kind})"
        schema.check_keys(findings, path, item, rule, schema.RULES[kind])
        if rule.get("weight") is not None and rule.get("enforce", "hard") == "hard":
            findings.wrong((*path, "weight"), item, "weight", rule["weight"], "a number with enforce: soft only")
        for key, known, what in (("workloads", workloads, "workloads"), ("hosts", hosts, "hosts")):
            names = rule.get(key)
            if key not in schema.RULES[kind] or not isinstance(names, list):
                continue
            for number, name in enumerate(names):
                if isinstance(name, str) and name not in known:
                    findings.wrong((*path, key, number), item, key, name, f"{what} of the estate: {names_text(known)}")
                elif name in names[:number]:
                    findings.wrong((*path, key, number), item, key, name, "each name once")


def check_policy(findings: Findings, policy: Any) -> None:
    """Check the policy of the estate; None says nothing."""
    path = ("estate", "estate_policy")
    if policy is None:
        return
    if not isinstance(policy, Mapping):
        findings.note(path, f"policy: value {shown(policy)}, allowed a mapping of keys and values")
        return
    schema.check_keys(findings, path, "policy", policy, schema.POLICY)
    for key, values in (("headroom", schema.HEADROOM), ("overcommit", schema.OVERCOMMIT)):
        if isinstance(policy.get(key), Mapping):
            schema.check_resources(findings, (*path, key), "policy", key, policy[key], values)

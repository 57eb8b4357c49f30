# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What may be said of hosts, workloads, rules and policy beyond what the roles and xl_guest take."""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0_spec import (
    AUTO,
    MEMORY_MIB,
    VCPUS,
    in_range,
    range_allowed,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.findings import Findings, Path
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.schema import LARGEST

RESOURCE = re.compile(r"[a-z][a-z0-9_.:-]{0,63}")
RESOURCE_ALLOWED = "resources by names of lower-case letters, digits, '_', '.', ':' and '-'"


@dataclass(frozen=True)
class Key:
    """One key: how its value is checked and what a message says is allowed."""

    allowed: str
    check: Callable[[Any], bool]
    required: bool = False


def is_number(value: Any) -> bool:
    """A finite number; true and false are none."""
    # Compared before anything is converted: YAML takes whole numbers that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def number(low: float = 0, above: bool = False, required: bool = False) -> Key:
    words = f"a number above {low:g}" if above else f"a number, {low:g} or more"
    return Key(words, lambda value: is_number(value) and (value > low if above else value >= low), required)


def whole(low: int) -> Key:
    return Key(f"a whole number, {low} or more", lambda value: is_whole(value) and low <= value <= LARGEST)


def bounded(low: int) -> Key:
    """A whole number that has no bound of its own but the planner's; messages name both ends."""
    return replace(whole(low), allowed=f"a whole number of at least {low} and at most {LARGEST}")


def choice(*values: str) -> Key:
    return Key(", ".join(values), lambda value: isinstance(value, str) and value in values)


def text(required: bool = False) -> Key:
    return Key("a text that is not empty", is_text, required)


def flag() -> Key:
    return Key("true or false", lambda value: isinstance(value, bool))


def texts() -> Key:
    return Key("a list of texts", lambda value: isinstance(value, list) and all(map(is_text, value)))


def mapping() -> Key:
    return Key("a mapping of keys and values", lambda value: isinstance(value, Mapping))


def some_texts() -> Key:
    """A list that must name something."""
    return Key("a list of at least one name", lambda value: isinstance(value, list) and bool(value) and all(map(is_text, value)),
               True)


HOST: dict[str, Key] = {
    "cpu_cores": number(0, above=True), "memory_mib": whole(1), "pool": text(), "zone": text(),
    "state": choice("active", "drain", "closed"), "features": texts(), "limits": mapping(), "watts": mapping(),
    "capacity": mapping(),
    "numa_nodes": Key("a list of at least one mapping", lambda value: isinstance(value, list) and bool(value)),
}
NODE: dict[str, Key] = {"cpu_cores": number(0, above=True), "memory_mib": number(0, above=True)}
LIMITS: dict[str, Key] = {
    "vcpus": whole(1), "link_mbps": number(0, above=True), "moves_in": whole(1), "moves_out": whole(1),
}
WATTS: dict[str, Key] = {"idle": number(required=True), "busy": number(required=True)}
DOM0: dict[str, Key] = {
    "dom0_vcpus": Key(range_allowed(*VCPUS), lambda value: in_range(value, *VCPUS)),
    "dom0_memory_mib": Key(f"{range_allowed(*MEMORY_MIB, 'MiB')}, or {AUTO}", lambda value: value == AUTO or in_range(value, *MEMORY_MIB)),
}
WORKLOAD: dict[str, Key] = {
    "demand": mapping(), "current": text(), "movable": flag(), "storage": choice("local", "shared", "replicated"),
    "live": flag(), "replica": text(), "move_cost": number(), "dirty_mbps": number(), "requires": texts(),
}
_RULE: dict[str, Key] = {
    "rule": text(required=True), "workloads": some_texts(), "enforce": choice("hard", "soft"),
    "weight": number(), "during": choice("end", "always"),
}
_SCOPE = choice("host", "zone")
RULES: dict[str, dict[str, Key]] = {
    "anti_affinity": {**_RULE, "scope": _SCOPE},
    "affinity": {**_RULE, "scope": _SCOPE},
    "spread": {**_RULE, "scope": _SCOPE, "at_most": whole(1)},
    "fence": {**_RULE, "hosts": some_texts()},
    "ban": {**_RULE, "hosts": some_texts()},
    "root": _RULE,
    "exclusive": _RULE,
    "limit_hosts": {**_RULE, "at_most": replace(whole(1), required=True)},
}
POLICY: dict[str, Key] = {
    "objective": choice("hosts", "watts", "balance"), "headroom": mapping(), "overcommit": mapping(), "failover": bounded(0),
    "max_moves": bounded(0), "effort": choice("quick", "normal", "thorough"), "seed": bounded(0),
    "tradeoff": flag(),
}
HEADROOM = Key("a number, 0 or more and below 1", lambda value: is_number(value) and 0 <= value < 1)
OVERCOMMIT = number(0, above=True)


def check_keys(
    findings: Findings, path: Path, item: str, values: Mapping[str, Any], keys: Mapping[str, Key], prefix: str = ""
) -> bool:
    """Check a mapping key by key; true when every value can be used. Null counts as not given.

    prefix: what stands before the key in messages.
    """
    fine = True
    for name in values:
        if name not in keys:
            findings.unknown((*path, name), item, prefix + str(name), values[name], keys)
            fine = False
    for name, key in keys.items():
        if values.get(name) is None:
            if key.required:
                findings.missing(path, item, prefix + name, key.allowed)
                fine = False
        elif not key.check(values[name]):
            findings.wrong((*path, name), item, prefix + name, values[name], key.allowed)
            fine = False
    return fine


def check_resources(
    findings: Findings, path: Path, item: str, prefix: str, values: Mapping[str, Any], key: Key
) -> bool:
    """Check a mapping from resources to values."""
    fine = True
    for name, value in values.items():
        if not isinstance(name, str) or not RESOURCE.fullmatch(name):
            findings.wrong((*path, name), item, prefix, name, RESOURCE_ALLOWED)
            fine = False
        elif not key.check(value):
            findings.wrong((*path, name), item, f"{prefix}.{name}", value, key.allowed)
            fine = False
    return fine

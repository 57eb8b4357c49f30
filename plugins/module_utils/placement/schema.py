# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The keys of a problem {hosts, workloads, rules, policy}: what is allowed, what is the default, what is wrong.

Every finding names the item, the key, the value and what is allowed. Findings are collected, not raised one by one.
"""
from __future__ import annotations

import re
import reprlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .problem import scaled

LARGEST = 10**12
MOST_ERRORS = 50
HOST_STATES = ("active", "closed", "drain")
STORAGES = ("local", "replicated", "shared")
OBJECTIVES = ("balance", "hosts", "watts")
EFFORTS = ("normal", "quick", "thorough")
SCOPES = ("host", "zone")
RULE_KEYS: dict[str, tuple[str, ...]] = {
    "affinity": ("scope",),
    "anti_affinity": ("scope",),
    "ban": ("hosts",),
    "exclusive": (),
    "fence": ("hosts",),
    "limit_hosts": ("at_most",),
    "root": (),
    "spread": ("scope", "at_most"),
}

Check = Callable[["Findings", str, str, Any], Any]
_SURROGATES = re.compile("[\ud800-\udfff]")


class ProblemError(ValueError):
    """A problem that cannot be planned as it is written. errors: one line per finding, sorted, at most MOST_ERRORS and a count."""

    def __init__(self, errors: Sequence[str]) -> None:
        # JSON takes characters that UTF-8 does not hold; a message has to reach the screen.
        different = sorted({error.encode("utf-8", "backslashreplace").decode() for error in errors})
        self.errors = different[:MOST_ERRORS]
        if len(different) > MOST_ERRORS:
            self.errors.append(f"and {len(different) - MOST_ERRORS} more")
        super().__init__("\n".join(self.errors))


class Findings(list[str]):
    """Findings so far, one line each."""

    def note(self, item: str, key: str, value: Any, allowed: str) -> None:
        """Add one finding."""
        self.append(f"{item}: {key}: value {shown(value)}, allowed {allowed}")


class _Short(reprlib.Repr):
    """Writes out the first few parts of what is nested: with aliases, a short document can stand for more than any memory holds."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist, self.maxtuple = 4, 8, 8, 8
        self.maxset, self.maxfrozenset, self.maxstring, self.maxlong, self.maxother = 8, 8, 60, 60, 60

    def repr1(self, x: Any, level: int) -> str:
        kinds: tuple[tuple[Any, Callable[[Any], Any]], ...] = ((str, str), (Mapping, dict), (list, list), (tuple, tuple))
        for kind, plain in kinds:
            if isinstance(x, kind) and type(x) is not plain:
                return super().repr1(plain(x), level)
        return super().repr1(x, level)


_SHORT = _Short()


def shown(value: Any) -> str:
    """A value as it stands in a message, on one line; long ones are cut."""
    if isinstance(value, str):
        return _cut(repr(str(value[:61])))
    try:
        return _cut(_SHORT.repr(value) if isinstance(value, (Mapping, list, tuple, set, frozenset)) else str(value))
    except (RecursionError, ValueError):  # more digits than Python writes out
        return f"of type {type(value).__name__} that is too large to be shown"


def label(value: Any) -> str:
    """A name or key as it stands in a message, on one line and without quotes; long ones are cut."""
    return _cut(repr(str(value[:61]))[1:-1]) if isinstance(value, str) else shown(value)


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def number(at_least: float = 0, above: bool = False, below: float | None = None) -> Check:
    """A finite number from at_least (or above it) to LARGEST (or below `below`). Above and below mean after rounding to six decimals."""
    allowed = f"a number {'above' if above else 'of at least'} {at_least:g}{' to six decimals' if above else ''}" + (
        f" and below {below:g} to six decimals" if below is not None else f" and at most {LARGEST:.0e}")

    def check(findings: Findings, item: str, key: str, value: Any) -> int | float | None:
        # Compared before anything is converted: JSON takes whole numbers that no float can hold.
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST
        good = good and (scaled(value) > scaled(at_least) if above else value >= at_least)
        if not good or (below is not None and scaled(value) >= scaled(below)):
            findings.note(item, key, value, allowed)
            return None
        return value
    return check


def integer(at_least: int = 0) -> Check:
    """A whole number from at_least to LARGEST."""
    allowed = f"a whole number of at least {at_least} and at most {LARGEST}"

    def check(findings: Findings, item: str, key: str, value: Any) -> int | None:
        if not isinstance(value, int) or isinstance(value, bool) or not at_least <= value <= LARGEST:
            findings.note(item, key, value, allowed)
            return None
        return int(value)
    return check


def is_name(value: Any) -> bool:
    """A string with something in it that UTF-8 can hold."""
    return isinstance(value, str) and bool(value.strip()) and not _SURROGATES.search(value)


def text(findings: Findings, item: str, key: str, value: Any) -> str | None:
    """A name."""
    if not is_name(value):
        findings.note(item, key, value, "a non-empty string" + (" of characters that UTF-8 can hold" if value else ""))
        return None
    return str(value)


def flag(findings: Findings, item: str, key: str, value: Any) -> bool | None:
    """true or false."""
    if not isinstance(value, bool):
        findings.note(item, key, value, "true or false")
        return None
    return value


def one_of(choices: Sequence[str]) -> Check:
    """One of some strings."""
    def check(findings: Findings, item: str, key: str, value: Any) -> str | None:
        if not isinstance(value, str) or value not in choices:
            findings.note(item, key, value, ", ".join(choices))
            return None
        return str(value)
    return check


def names(findings: Findings, item: str, key: str, value: Any) -> list[str] | None:
    """A list of different names; returned sorted."""
    if not isinstance(value, (list, tuple)) or not all(map(is_name, value)):
        findings.note(item, key, value, "a list of names")
        return None
    for name, count in sorted(Counter(value).items()):
        if count > 1:
            findings.note(item, key, name, "each name once")
    return sorted({str(name) for name in value})


def some_names(findings: Findings, item: str, key: str, value: Any) -> list[str] | None:
    """A list of at least one name."""
    found = names(findings, item, key, value)
    if found == []:
        findings.note(item, key, value, "a list of at least one name")
        return None
    return found


def table(check: Check) -> Check:
    """A mapping from names to values that pass a check."""
    def checked(findings: Findings, item: str, key: str, value: Any) -> dict[str, Any] | None:
        if not isinstance(value, Mapping):
            findings.note(item, key, value, "a mapping of resources to numbers")
            return None
        result = {}
        for name in value:
            if text(findings, item, key, name) is not None:
                result[str(name)] = check(findings, item, f"{key}.{label(name)}", value[name])
        return result
    return checked


def demand(findings: Findings, item: str, key: str, value: Any) -> Any:
    """One number, or a series: a list of at least one number."""
    if not isinstance(value, (list, tuple)):
        allowed = f"a number from 0 to {LARGEST:.0e}, or a list of such numbers"
        quiet = Findings()
        if number()(quiet, item, key, value) is None:
            findings.note(item, key, value, allowed)
            return None
        return value
    if not value:
        findings.note(item, key, value, "a number, or a list of at least one number")
        return None
    check = number()
    before = len(findings)
    result = [check(findings, item, f"{key}[{index}]", part) for index, part in enumerate(value)]
    return result if len(findings) == before else None


def nodes(findings: Findings, item: str, key: str, value: Any) -> list[dict[str, Any]] | None:
    """A list of at least one mapping of resources to numbers, the same resources in each."""
    if not isinstance(value, (list, tuple)) or not value:
        findings.note(item, key, value, "a list of at least one mapping of resources to numbers")
        return None
    result = [table(number())(findings, item, f"{key}[{index}]", node) for index, node in enumerate(value)]
    if any(node is None for node in result):
        return None
    first = ", ".join(sorted(result[0])) or "no resource"
    for index, node in enumerate(result):
        if not node or set(node) != set(result[0]):
            allowed = f"the resources of {key}[0]: {first}" if index else "at least one resource"
            findings.note(item, f"{key}[{index}]", ", ".join(sorted(node)) or "no resource", allowed)
    return result


def mapping(keys: Mapping[str, Check]) -> Check:
    """A mapping with known, optional keys."""
    def checked(findings: Findings, item: str, key: str, value: Any) -> dict[str, Any] | None:
        if not isinstance(value, Mapping):
            findings.note(item, key, value, f"a mapping with {', '.join(sorted(keys))}")
            return None
        return fill(findings, item, value, keys, prefix=f"{key}.")
    return checked


def fill(findings: Findings, item: str, value: Mapping[str, Any], keys: Mapping[str, Check],
         required: Sequence[str] = (), prefix: str = "") -> dict[str, Any]:
    """Check the keys of one item; unknown and missing ones are findings, those that are null count as not given."""
    result: dict[str, Any] = {}
    for key in sorted(value, key=label):
        if key not in keys:
            findings.append(f"{item}: unknown key '{prefix}{label(key)}': value {shown(value[key])}, allowed {', '.join(sorted(keys))}")
        elif value[key] is not None:
            result[str(key)] = keys[key](findings, item, f"{prefix}{key}", value[key])
    for key in required:
        if value.get(key) is None:
            findings.append(f"{item}: {prefix}{key}: missing (value null), allowed {_EXPECTED.get(key, 'a value')}")
    return result


_EXPECTED = {"name": "a non-empty string", "capacity": "a mapping of resources to numbers", "demand": "a mapping of resources to"
             " numbers or series", "workloads": "a list of at least one name", "hosts": "a list of at least one name",
             "at_most": "a whole number of at least 1", "rule": ", ".join(RULE_KEYS)}
HOST_KEYS: dict[str, Check] = {
    "name": text, "capacity": table(number()), "pool": text, "zone": text, "features": names,
    "limits": mapping({"vcpus": integer(), "link_mbps": number(0, above=True), "moves_in": integer(1), "moves_out": integer(1)}),
    "watts": mapping({"idle": number(), "busy": number()}), "state": one_of(HOST_STATES), "numa_nodes": nodes,
    "reserved": table(number()),
}
WORKLOAD_KEYS: dict[str, Check] = {
    "name": text, "demand": table(demand), "current": text, "movable": flag, "storage": one_of(STORAGES), "live": flag,
    "replica": text, "vcpus": integer(), "move_cost": number(), "dirty_mbps": number(), "requires": names,
}
POLICY_KEYS: dict[str, Check] = {
    "objective": one_of(OBJECTIVES), "headroom": table(number(0, below=1)), "overcommit": table(number(0, above=True)),
    "failover": integer(), "max_moves": integer(), "effort": one_of(EFFORTS), "seed": integer(), "tradeoff": flag,
}
COMMON_RULE_KEYS: dict[str, Check] = {
    "rule": one_of(tuple(RULE_KEYS)), "workloads": some_names, "enforce": one_of(("hard", "soft")), "weight": number(),
    "during": one_of(("always", "end")),
}
RULE_CHECKS: dict[str, Check] = {"scope": one_of(SCOPES), "at_most": integer(1), "hosts": some_names}

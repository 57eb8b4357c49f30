# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks of single input values. Every failure becomes one line that names item, key, value and what is allowed."""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np

SCALE = 10**6
"""Every quantity is an integer number of millionths from entry on."""

LARGEST = 10**12
"""Largest number accepted; a million of them, scaled, stay far from the end of int64 or are refused by their sum."""

EXACT_FLOAT = 2**53 // SCALE
"""Up to here value * SCALE, rounded to the nearest integer, is exact for every float of six decimals or fewer."""

SHOWN = 20
"""Errors listed in one message."""


class PlacementError(ValueError):
    """Bad input. ``errors`` holds all lines found, the message the first of them in a fixed order."""

    def __init__(self, errors: Sequence[str]) -> None:
        self.errors = list(errors)
        shown = self.errors[:SHOWN]
        if len(self.errors) > len(shown):
            shown.append(f"and {len(self.errors) - len(shown)} more")
        super().__init__("; ".join(shown))


def show(value: Any) -> str:
    """A value as it stands in a message: short, on one line."""
    text = repr(value) if not isinstance(value, str) else repr(str(value))
    return text if len(text) <= 80 else text[:77] + "..."


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def scaled(value: int | float) -> int:
    """The number in millionths, rounded half to even at the sixth decimal."""
    if isinstance(value, int):
        return int(value) * SCALE
    return int((Decimal(repr(float(value))) * SCALE).to_integral_value(rounding=ROUND_HALF_EVEN))


def unscaled(value: int) -> int | float:
    """Millionths as a number for people and JSON: an integer where it is one."""
    value = int(value)
    return value // SCALE if value % SCALE == 0 else value / SCALE


class Reader:
    """Reads the keys of one mapping and collects what is wrong in them.

    ``item`` names the mapping in messages, e.g. ``host xen01``.
    """

    def __init__(self, item: str, data: Mapping[str, Any], allowed: Iterable[str], errors: list[str]) -> None:
        self.item = item
        self.data = data
        self.errors = errors
        keys = tuple(allowed)
        for key in sorted((str(key) for key in data if key not in keys)):
            self.bad(key, data.get(key), "unknown key, allowed are " + ", ".join(keys))

    def bad(self, key: str, value: Any, problem: str) -> None:
        self.errors.append(f"{self.item}: {key}: {show(value)}: {problem}")

    def has(self, key: str) -> bool:
        return self.data.get(key) is not None

    def text(self, key: str, default: str | None = None) -> str | None:
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, str) or not value.strip():
            self.bad(key, value, "must be a non-empty string")
            return default
        return str(value)

    def choice(self, key: str, choices: Sequence[str], default: str) -> str:
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, str) or value not in choices:
            self.bad(key, value, "must be one of " + ", ".join(choices))
            return default
        return str(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.bad(key, value, "must be true or false")
            return default
        return value

    def whole(self, key: str, default: int | None, least: int = 0) -> int | None:
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= LARGEST:
            self.bad(key, value, f"must be a whole number from {least} to {LARGEST}")
            return default
        return int(value)

    def number(self, key: str, default: int = 0) -> int:
        """A number >= 0 in millionths; absent gives ``default`` (already in millionths)."""
        value = self.data.get(key)
        if value is None:
            return default
        if not self.good_number(key, value):
            return default
        return scaled(value)

    def good_number(self, key: str, value: Any) -> bool:
        if not is_number(value) or not math.isfinite(value) or not 0 <= value <= LARGEST:
            self.bad(key, value, f"must be a finite number from 0 to {LARGEST}")
            return False
        return True

    def names(self, key: str, known: Mapping[str, int] | None = None, what: str = "", least: int = 0) -> list[str]:
        """A list of different names, sorted; with ``known``, each has to be one of its keys."""
        value = self.data.get(key)
        if value is None:
            value = []
        if not is_list(value) or not all(isinstance(entry, str) and entry for entry in value):
            self.bad(key, value, "must be a list of names")
            return []
        found = sorted({str(entry) for entry in value})
        if len(found) != len(value):
            self.bad(key, list(value), "names a thing twice")
        if len(found) < least:
            self.bad(key, list(value), f"must name at least {least} {what}{'s' if least > 1 else ''}")
        if known is not None:
            for entry in found:
                if entry not in known:
                    self.bad(key, entry, f"no such {what}")
            found = [entry for entry in found if entry in known]
        return found

    def mapping(self, key: str, allowed: Iterable[str] | None = None) -> Mapping[str, Any]:
        value = self.data.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.bad(key, value, "must be a mapping")
            return {}
        for name in value:
            if not isinstance(name, str) or not name:
                self.bad(key, name, "a resource is named by a non-empty string")
                return {}
        if allowed is not None:
            Reader(f"{self.item}: {key}", value, allowed, self.errors)
        return value

    def series(self, key: str, name: str, value: Any) -> np.ndarray | None:
        """A demand in millionths, int64[1] for a number or int64[slots] for a series; None when it is bad."""
        where = f"{key}.{name}"
        if is_number(value):
            return np.array([scaled(value)], dtype=np.int64) if self.good_number(where, value) else None
        if not is_list(value):
            self.bad(where, value, "must be a number or a series of numbers")
            return None
        if not value:
            self.bad(where, [], "an empty series; give one number for each slot")
            return None
        for slot, entry in enumerate(value):
            if not is_number(entry) or not 0 <= entry <= LARGEST:
                self.bad(f"{where}[{slot}]", entry, f"must be a finite number from 0 to {LARGEST}")
                return None
        if all(entry <= EXACT_FLOAT for entry in value):
            return np.rint(np.array(value, dtype=np.float64) * SCALE).astype(np.int64)
        return np.array([scaled(entry) for entry in value], dtype=np.int64)

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A problem in its normalised form: names sorted, numbers as integers of a millionth, defaults filled in."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCALE = 10**6
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Host:
    """A host; link_mbps and vcpus are None where nothing limits them. moves_in, moves_out: moves of one wave."""

    name: str
    pool: str
    zone: str
    features: frozenset[str]
    state: str
    vcpus: int | None
    link_mbps: float
    moves_in: int
    moves_out: int
    watts_idle: float
    watts_busy: float


@dataclass(frozen=True)
class Workload:
    """A workload; current and replica are indexes of hosts or -1. move_cost in millionths."""

    name: str
    current: int
    movable: bool
    storage: str
    live: bool
    replica: int
    vcpus: int
    move_cost: int
    dirty_mbps: float
    requires: frozenset[str]


@dataclass(frozen=True)
class RuleSpec:
    """A rule as it is written, with indexes of workloads and hosts. text: canonical JSON."""

    kind: str
    workloads: tuple[int, ...]
    hosts: tuple[int, ...]
    scope: str
    at_most: int
    hard: bool
    weight: int
    always: bool
    text: str


@dataclass(frozen=True)
class Policy:
    """What to aim at. max_moves: None for as many as it takes."""

    objective: str
    failover: int
    max_moves: int | None
    effort: str
    seed: int
    tradeoff: bool


@dataclass(frozen=True)
class Nodes:
    """The NUMA nodes of a host. room[n, c]: usable capacity of each in millionths; columns[c]: indexes of the resources that they name."""

    columns: Ints
    room: Ints


@dataclass(frozen=True)
class Problem:
    """hosts, workloads, resources: sorted by name. All arrays are int64 in millionths.

    capacity[h, r]: capacity x overcommit less what is reserved, which holds while moves run; usable[h, r]: the same less headroom, which
    holds at the end; raw[h, r]: capacity as written; demand[w, r, slot]; current[w]: index of the host or -1; zone[h]: index;
    nodes[h]: the NUMA nodes of a host that names them.
    """

    hosts: tuple[Host, ...]
    workloads: tuple[Workload, ...]
    resources: tuple[str, ...]
    rules: tuple[RuleSpec, ...]
    policy: Policy
    raw: Ints
    capacity: Ints
    usable: Ints
    demand: Ints
    current: Ints
    move_cost: Ints
    zone: Ints
    nodes: tuple[Nodes | None, ...]
    sha256: str

    @property
    def slots(self) -> int:
        """Number of time slots; 1 without any series."""
        return int(self.demand.shape[2])


def scaled(value: float) -> int:
    """A number in millionths, rounded half to even."""
    if isinstance(value, int):
        return value * SCALE
    if abs(value) < 10**9:
        return round(value * SCALE)
    return int((Decimal(repr(float(value))) * SCALE).to_integral_value(ROUND_HALF_EVEN))


def product(value: float, *factors: Decimal) -> int:
    """A number times factors of at most six decimals, in millionths; rounded down, so that nothing fits which does not."""
    result = scaled(value)
    for factor in factors:
        # In whole numbers: the digits of three factors are more than Decimal keeps, and it would round up.
        result = result * int(factor * SCALE)
    return int(result // SCALE ** len(factors))


def exact(value: float) -> Decimal:
    """The decimal number that was written, to six decimals."""
    return Decimal(scaled(value)) / SCALE


def plain(millionths: int) -> int | float:
    """From millionths back to a number: whole ones as integers."""
    whole, rest = divmod(int(millionths), SCALE)
    return whole if rest == 0 else float(Decimal(int(millionths)) / SCALE)


def fingerprint(document: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of a document."""
    encoded = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(encoded.encode("utf-8", "surrogatepass")).hexdigest()

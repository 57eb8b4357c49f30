# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the hosts of a pool offer guests the CPU features of its level; pure."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.finding import Finding
from ansible_collections.xenfold.consolidation.plugins.module_utils.cpu import features, levels

_WRITE = "run playbooks/level.yml"


def findings(hosts: Mapping[str, tuple[str, Mapping[str, Any], Any]]) -> Iterator[Finding]:
    """hosts: name -> (pool, the answer `cpu` of host_info or {}, pool_cpu_levels as a person wrote them)."""
    pools: dict[str, dict[str, tuple[levels.Offer, Any]]] = {}
    for host, (pool, told, written) in hosts.items():
        if told and not wrong(written) and not unread(host, told):
            pools.setdefault(pool, {})[host] = (levels.parse_offer(host, told), written)
    for pool, members in pools.items():
        unlevelled = {}
        for host, (offer, written) in members.items():
            level = levels.parse_levels(written).get(pool)
            if level:
                yield from _beside(host, pool, level, offer)
            else:
                unlevelled[host] = offer
        yield from _differing(pool, unlevelled)


def wrong(written: Any) -> str:
    """What is wrong with pool_cpu_levels; "" when nothing is."""
    try:
        levels.parse_levels(written)
    except ValueError as error:
        return str(error)
    return ""


def unread(host: str, told: Mapping[str, Any]) -> str:
    """Why the answer `cpu` of a host cannot be compared, such as features of a later Xen; "" when it can, or when there is none."""
    try:
        levels.parse_offer(host, told or {"vendor": "-", "hvm": "00000000"})
    except ValueError as error:
        return str(error)
    return ""


def _beside(host: str, pool: str, level: levels.Level, offer: levels.Offer) -> Iterator[Finding]:
    if offer.vendor != level.vendor:
        yield Finding(host, "cpu_level", "vendor", offer.vendor, level.vendor,
                      f"CPUs of {offer.vendor} in the pool {pool} of {level.vendor}: no guest moves live between them")
        return
    lost, more = levels.lacks(level, offer), levels.offers_beyond(level, offer)
    if lost:
        yield Finding(host, "cpu_level", "features", f"without {', '.join(lost)}", "all features of the level",
                      f"would shrink the level of the pool {pool} by {', '.join(lost)}: guests that use it cannot move here")
    if more:
        yield Finding(host, "cpu_level", "features", f"with {', '.join(more)}", "no others than the level promises or hides",
                      f"offers {', '.join(more)}, which the level of the pool {pool} neither promises nor hides: guests that start here may"
                      f" be unable to move; {_WRITE}")


def _differing(pool: str, offers: Mapping[str, levels.Offer]) -> Iterator[Finding]:
    """A pool without a level: what a host offers beyond the others."""
    vendors = sorted({offer.vendor for offer in offers.values()})
    if len(vendors) > 1:
        for host, offer in offers.items():
            others = ", ".join(vendor for vendor in vendors if vendor != offer.vendor)
            yield Finding(host, "cpu_level", "vendor", offer.vendor, "one vendor in a pool",
                          f"CPUs of {offer.vendor} in the pool {pool}, which has such of {others} too: no guest moves live between them")
    elif offers:
        level, stuck = levels.level_of(offers)
        for host, offer in offers.items():
            more = ", ".join([*features.names_of(features.common([offer.words, level.hidden])), *stuck.get(host, [])])
            if more:
                yield Finding(host, "cpu_level", "features", f"with {more}", "the same on all hosts, or a level",
                              f"offers {more}, which not every host of the pool {pool} does: guests that start here cannot move everywhere;"
                              f" {_WRITE}")

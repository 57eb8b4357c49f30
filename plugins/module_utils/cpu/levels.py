# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Levels of pools: the CPU features that guests of a pool may use on each of its hosts (docs/decisions/0010)."""
from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.cpu import features
from ansible_collections.xenfold.consolidation.plugins.module_utils.cpu.features import Words
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.build import DEFAULT_POOL

KEYS = ("features", "hidden", "vendor")
WHAT = "CPU features"
"""What host_info could not ask is named so."""


@dataclass(frozen=True)
class Level:
    """vendor: of all CPUs of the pool; features: what all of its hosts offer; hidden: what some offer on top and xl keeps from guests."""

    vendor: str
    features: Words
    hidden: Words

    def data(self) -> dict[str, Any]:
        """As it is kept in the inventory."""
        return {"vendor": self.vendor, "features": features.text_of(self.features), "hidden": features.names_of(self.hidden)}


def parse_level(pool: str, told: Any) -> Level:
    """A level of the inventory. Raises ValueError with pool, key, value and what is allowed."""
    if not isinstance(told, Mapping):
        raise ValueError(f"pool_cpu_levels.{pool}: value {told!r}, allowed a mapping of {', '.join(KEYS)} as playbooks/level.yml writes it")
    wrong = sorted({*map(str, told)} ^ {*KEYS})
    if wrong:
        raise ValueError(f"pool_cpu_levels.{pool}: keys {', '.join(map(str, told)) or 'none'}, allowed {', '.join(KEYS)}")
    vendor, hidden = told["vendor"], told["hidden"]
    if not isinstance(vendor, str) or not vendor:
        raise ValueError(f"pool_cpu_levels.{pool}.vendor: value {vendor!r}, allowed a text such as AuthenticAMD")
    if not isinstance(hidden, list):
        raise ValueError(f"pool_cpu_levels.{pool}.hidden: value {hidden!r}, allowed a list of names of CPU features")
    try:
        words = features.compared(features.parse_words(told["features"]))
    except ValueError as error:
        raise ValueError(f"pool_cpu_levels.{pool}.features: value {error}") from error
    try:
        masked = features.words_of(hidden)
    except ValueError as error:
        raise ValueError(f"pool_cpu_levels.{pool}.hidden: value {error}") from error
    stuck = features.names_of(features.without(masked, features.can_be_hidden(masked)))
    if stuck:
        raise ValueError(f"pool_cpu_levels.{pool}.hidden: value {stuck[0]!r}, allowed features that xl can hide on every host of a pool")
    return Level(vendor, words, masked)


def parse_levels(told: Any) -> dict[str, Level]:
    """The variable pool_cpu_levels. Raises ValueError."""
    if not isinstance(told, Mapping):
        raise ValueError(f"pool_cpu_levels: value {told!r}, allowed a mapping of pools to levels, as playbooks/level.yml writes it")
    return {str(pool): parse_level(str(pool), level) for pool, level in told.items()}


@dataclass(frozen=True)
class Offer:
    """What a host offers to guests of type pvh and hvm. words: a compared featureset of all words."""

    vendor: str
    words: Words


def parse_offer(host: str, told: Any, why: str = "") -> Offer:
    """The answer `cpu` of host_info. why: it is not there. Raises ValueError when the host told nothing, or something else."""
    if not isinstance(told, Mapping) or not told.get("vendor") or not told.get("hvm"):
        raise ValueError(f"host '{host}' did not tell what its CPUs offer to guests: {why or 'Xen does not run there'}")
    try:
        return Offer(str(told["vendor"]), features.compared(features.parse_words(told["hvm"])))
    except ValueError as error:
        raise ValueError(f"host '{host}': CPU features: value {error}") from error


def level_of(offers: Mapping[str, Offer]) -> tuple[Level, dict[str, list[str]]]:
    """The level of a pool with these hosts, at least one, and per host what it offers beyond it that cannot be hidden.

    The register that `arch-caps` announces cannot be masked bit by bit on Xen 4.17: unless all hosts have the same in it, the feature is
    hidden, and guests take the CPU for vulnerable. Raises ValueError for CPUs of several vendors.
    """
    vendors = sorted({offer.vendor for offer in offers.values()})
    if len(vendors) > 1:
        parts = [f"{vendor} ({', '.join(sorted(name for name, offer in offers.items() if offer.vendor == vendor))})" for vendor in vendors]
        raise ValueError(f"its hosts have CPUs of {' and '.join(parts)}: no guest moves live between them. Make them two pools")
    sets = [offer.words for offer in offers.values()]
    same = features.common(sets)
    if not _announces(same) or any(len({words[index] for words in sets}) > 1 for index in features.MSR_WORDS):
        same = features.without(_without_msr(same), _ARCH_CAPS)
    beyond = features.merged(_without_msr(features.without(words, same)) for words in sets)
    level = Level(vendors[0], same, features.can_be_hidden(beyond))
    return level, {name: names for name, offer in offers.items() if (names := offers_beyond(level, offer))}


_ARCH_CAPS = features.words_of(["arch-caps"])


def _announces(words: Words) -> bool:
    """Whether guests read IA32_ARCH_CAPABILITIES; else what stands in it is nothing to them."""
    return any(word & announced for word, announced in zip(words, _ARCH_CAPS, strict=True))


def _without_msr(words: Words) -> Words:
    return tuple(0 if index in features.MSR_WORDS else word for index, word in enumerate(words))


def lacks(level: Level, offer: Offer) -> list[str]:
    """What the level promises and a host does not offer: a guest that moves there loses it while it uses it."""
    return features.names_of(features.without(level.features, offer.words))


def offers_beyond(level: Level, offer: Offer) -> list[str]:
    """What a host offers that the level neither promises nor hides: a guest that starts there may use it, and cannot move."""
    beyond = features.without(features.without(offer.words, level.features), level.hidden)
    return features.names_of(beyond if _announces(level.features) else _without_msr(beyond))


def levels_of(answers: Mapping[str, Mapping[str, Any]], stored: Mapping[str, Level], shrink: Collection[str]) -> dict[str, Any]:
    """`levels`, as the inventory takes them, and `lines` for a person.

    answers: host -> {pool, cpu, unasked}, the latter two of host_info; stored: the levels of the inventory; shrink: pools whose level may
    lose features. Raises ValueError.
    """
    pools: dict[str, dict[str, Offer]] = {}
    for host, told in sorted(answers.items()):
        why = ", ".join(str(entry["why"]) for entry in told.get("unasked") or [] if entry["what"] == WHAT)
        pools.setdefault(str(told.get("pool") or DEFAULT_POOL), {})[host] = parse_offer(host, told.get("cpu"), why)
    levels: dict[str, dict[str, Any]] = {}
    lines = []
    for pool, offers in sorted(pools.items()):
        try:
            level, stuck = level_of(offers)
        except ValueError as error:
            raise ValueError(f"pool '{pool}': {error}") from error
        before = stored.get(pool)
        if before and pool not in shrink:
            _refuse_shrinking(pool, before, level, offers)
        levels[pool] = level.data()
        hidden = ", ".join(levels[pool]["hidden"]) or "nothing"
        lines.append(f"pool '{pool}': {len(offers)} host{'' if len(offers) == 1 else 's'}; hidden from guests: {hidden}")
        lines += [
            f"pool '{pool}': host '{host}' offers {', '.join(names)}, which another host of the pool does not, and xl cannot hide it: a"
            " guest that uses it cannot move there" for host, names in stuck.items()]
    return {"levels": levels, "lines": lines}


def _refuse_shrinking(pool: str, before: Level, level: Level, offers: Mapping[str, Offer]) -> None:
    losses = [(host, offer, lacks(before, offer)) for host, offer in offers.items()]
    # One that has all of it and more in the register that arch-caps announces takes arch-caps from the others.
    gone = features.names_of(features.without(before.features, level.features))
    losses += [(host, offer, gone) for host, offer in offers.items()
               if any(offer.words[index] != before.features[index] for index in features.MSR_WORDS)]
    for host, offer, lost in losses:
        if lost or offer.vendor != before.vendor:
            why = f"{', '.join(lost)}" if offer.vendor == before.vendor else f"CPUs of {before.vendor}: it has {offer.vendor}"
            raise ValueError(
                f"host '{host}' would shrink the level of pool '{pool}' by {why}. Guests that run may use it and cannot move there. Put the"
                f" host into another pool; or accept it (-e '{{\"level_shrink\": [\"{pool}\"]}}') and start the pool's guests anew")

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The other hosts of a pool as senders and receivers of guests, from the inventory and what the role `migration` registered."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import firewall
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import names

DEFAULT_PORT = 22
_READ = ("estate_host", "network_bridges", "network_vlans", "network_bonds")
"""Not all of a host's variables: those that no one asks for need not be such that they can be templated here."""


def peers_of(variables: Mapping[str, Mapping[str, Any]], host: str, default_pool: str) -> list[dict[str, Any]]:
    """Peers sorted by name. Raises ValueError for a host of the pool without an address, and for a bad address or port.

    `migration_address` comes first, and is enough; else it is the first of those that the inventory names.
    """
    found = []
    for name in sorted(set(variables) - {host}):
        own, extra = variables[name], variables[name].get("migration_address")
        pair = {host: variables[host], name: own}
        if extra is not None:
            errors = names.check_address("migration_address", extra)
            if errors:
                raise ValueError(f"host {name!r}: {errors[0]}")
            # With its own address in the place of ansible_host, it has one in any case.
            plain = {key: own[key] for key in _READ if key in own}
            listed = firewall.pool_addresses({**pair, name: {**plain, "ansible_host": extra}}, host, default_pool)
        else:
            listed = firewall.pool_addresses(pair, host, default_pool)
        if not listed:
            continue
        port = own.get("migration_port", DEFAULT_PORT)
        errors = names.check_port("migration_port", port) + names.check("host", name)
        if errors:
            raise ValueError(f"host {name!r}: {errors[0]}")
        told = own.get("_migration_own") or {}
        address = extra or listed[0]
        found.append({
            "name": name, "address": address, "addresses": sorted({*listed, address}), "port": port,
            "public_key": told.get("public_key") or "", "volume_key": told.get("volume_key") or "",
            "guard_key": told.get("guard_key") or "",
            "host_keys": list(told.get("host_keys") or []), "asked": "host_keys" in told,
        })
    return found

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The other hosts of a pool as senders and receivers of guests, from the inventory and what the role `migration` registered."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import firewall
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import names

DEFAULT_PORT = 22
_READ = ("network_bridges", "network_vlans", "network_bonds", "ansible_host")
"""Not all of a host's variables: those that no one asks for need not be such that they can be templated here."""


def peers_of(
    variables: Mapping[str, Mapping[str, Any]], host: str, default_pool: str, every_pool: bool = False,
) -> list[dict[str, Any]]:
    """Peers sorted by name. Raises ValueError for a host of the pool without an address, and for a bad address or port.

    `migration_address` comes first, and is enough; else it is the first of those that the inventory names. every_pool: hosts of other
    pools as well, with `sends` false, where they have an address, since a guest whose disks they reach may start there.
    """
    found = []
    for name in sorted(set(variables) - {host}):
        own, extra = variables[name], variables[name].get("migration_address")
        sends = firewall.pool_of(own, default_pool) == firewall.pool_of(variables[host], default_pool)
        if not (sends or every_pool):
            continue
        port = own.get("migration_port", DEFAULT_PORT)
        errors = names.check_address("migration_address", extra) if extra is not None else []
        errors += names.check_port("migration_port", port) + names.check("host", name)
        if errors:
            raise ValueError(f"host {name!r}: {errors[0]}")
        plain = {key: own[key] for key in _READ if key in own} | ({"ansible_host": extra} if extra else {})
        listed = firewall.addresses_of(name, plain)
        if not listed and not sends:
            # One of another pool that nothing here can reach by an address asks nothing either.
            continue
        if not listed:
            raise ValueError(f"host {name!r}: migration_address: no value, allowed an address: neither network_bridges, network_vlans,"
                             f" network_bonds nor ansible_host has one at which {host!r} could reach it")
        told = own.get("_migration_own") or {}
        address = extra or listed[0]
        found.append({
            "name": name, "address": address, "addresses": sorted({*listed, address}), "port": port,
            "public_key": told.get("public_key") or "", "volume_key": told.get("volume_key") or "",
            "guard_key": told.get("guard_key") or "",
            "host_keys": list(told.get("host_keys") or []), "asked": "host_keys" in told, "sends": sends,
        })
    return found

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The network of a host as it is, in one record."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.network import live
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import member_identity

NETWORKD = "systemd-networkd.service"
NETWORKING = "networking.service"
NETWORK_MANAGER = "NetworkManager.service"
RESOLVED = "systemd-resolved.service"


@dataclass(frozen=True)
class State:
    """A host's network. files: content by path of every file that could matter; gateways: default routes as
    (gateway, device); neighbours: state by address; filters: values of bridge-nf-call-* while br_netfilter is loaded;
    active, enabled: networkd; networking: whether ifupdown's service is enabled; missing: packages that are not installed,
    of those that only some networks need."""

    links: Mapping[str, live.Link]
    bonds: Mapping[str, live.BondState]
    files: Mapping[str, str]
    gateways: frozenset[tuple[str, str]] = frozenset()
    neighbours: Mapping[str, str] = field(default_factory=dict)
    filters: Mapping[str, str] = field(default_factory=dict)
    active: bool = True
    enabled: bool = True
    networking: bool = False
    network_manager: bool = False
    resolved: bool = True
    missing: frozenset[str] = frozenset()


def find_card(member: Mapping[str, Any], links: Mapping[str, live.Link]) -> live.Link | None:
    """The network card that a member of a bond names, if the host has it."""
    key, value = member_identity(member)
    for link in links.values():
        known = {"mac": (link.permanent_mac,), "name": (link.name, *link.other_names), "path": (link.id_path,)}
        if link.is_card and value in known[key]:
            return link
    return None

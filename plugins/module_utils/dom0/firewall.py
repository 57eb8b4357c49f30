# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""dom0's own packet filter: one table of nftables for what comes in to dom0 itself, rendered and compared by pure functions.

Guests' bridged frames never pass the input hook of dom0, and nothing is said here of forwarding.
"""
from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0_spec import PORT, in_range, range_allowed
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile

RULES = "/etc/xenfold/firewall.nft"
UNIT = "xenfold-firewall.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
UNIT_LINK = f"/etc/systemd/system/sysinit.target.wants/{UNIT}"
TABLE = "xenfold"
REMOVAL = f"table inet {TABLE}\ndelete table inet {TABLE}\n"
POOL = "pool"

_HEADER = "# Managed by Ansible: xenfold.consolidation, role dom0. Changes made here are overwritten.\n"
_NETWORK_ALLOWED = "networks such as 10.0.0.0/24 or fd00::/64 without bits right of the prefix, or single addresses"
_PORT_RANGE = re.compile(r"(\d{1,5})-(\d{1,5})")
_ALLOW_KEYS = ("protocol", "ports", "from")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Firewall:
    """The packet filter as it is asked for.

    ssh_from, migration_from: networks that may open SSH; in the second `pool` stands for pool_addresses, those of the other hosts of
    the pool; ssh_port: where sshd listens; allow: further ways in, each with protocol (tcp, udp), ports (numbers, or texts such as
    7790-7799) and from (networks).
    """

    enabled: bool = False
    ssh_from: tuple[Any, ...] = ()
    migration_from: tuple[Any, ...] = ()
    ssh_port: int = 22
    allow: tuple[Any, ...] = ()
    pool_addresses: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Client:
    """The SSH connection over which this runs, as the host sees it: the other side's address, and the port of sshd here."""

    address: Address
    port: int


def _wrong(key: str, value: object, allowed: str) -> str:
    return f"firewall.{key}: value {value!r}, allowed {allowed}"


def _network(value: Any) -> Network | None:
    """A network or address; None for anything else.

    Numbers are none: ipaddress takes 10 for 0.0.0.10. Neither is an address with a zone, which ipaddress lets be any text.
    """
    if not isinstance(value, str) or "%" in value:
        return None
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        return None


def _port_ok(value: Any) -> bool:
    if isinstance(value, str) and (match := _PORT_RANGE.fullmatch(value)):
        low, high = int(match[1]), int(match[2])
        return PORT[0] <= low < high <= PORT[1]
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}", value) else value
    return in_range(number, *PORT)


def check(firewall: Firewall) -> list[str]:
    """Errors of the settings, each with key, value and what is allowed. A filter that is off is not looked at."""
    if not firewall.enabled:
        return []
    errors = []
    for key, networks, word in (("ssh_from", firewall.ssh_from, ""), ("migration_from", firewall.migration_from, POOL),
                                ("pool_addresses", firewall.pool_addresses, "")):
        errors += [
            _wrong(f"{key}[{number}]", value, _NETWORK_ALLOWED + (f", or '{word}'" if word else ""))
            for number, value in enumerate(networks) if _network(value) is None and not (word and value == word)
        ]
    if not firewall.ssh_from:
        errors.append(_wrong("ssh_from", [], f"one or more {_NETWORK_ALLOWED}: nobody could reach the host otherwise"))
    if not in_range(firewall.ssh_port, *PORT):
        errors.append(_wrong("ssh_port", firewall.ssh_port, range_allowed(*PORT)))
    for number, way in enumerate(firewall.allow):
        errors += _check_way(f"allow[{number}]", way)
    return errors


def _check_way(key: str, way: Any) -> list[str]:
    if not isinstance(way, Mapping):
        return [_wrong(key, way, f"keys {', '.join(_ALLOW_KEYS)}")]
    errors = [_wrong(f"{key}.{name}", way[name], f"keys {', '.join(_ALLOW_KEYS)}") for name in way if name not in _ALLOW_KEYS]
    if way.get("protocol") not in ("tcp", "udp"):
        errors.append(_wrong(f"{key}.protocol", way.get("protocol"), "tcp, udp"))
    for name, good, allowed in (
        ("ports", _port_ok, f"one or more of {range_allowed(*PORT)}, and ranges such as 7790-7799"),
        ("from", lambda value: _network(value) is not None, f"one or more {_NETWORK_ALLOWED}"),
    ):
        values = way.get(name)
        if not isinstance(values, list | tuple) or not values:
            errors.append(_wrong(f"{key}.{name}", values, allowed))
        else:
            errors += [_wrong(f"{key}.{name}[{place}]", value, allowed) for place, value in enumerate(values) if not good(value)]
    return errors


def _networks(values: Iterable[Any]) -> list[Network]:
    """The networks in order, without those that others contain: nft refuses a set whose members overlap."""
    found = [network for value in values if (network := _network(value)) is not None]
    return [
        *ipaddress.collapse_addresses(network for network in found if isinstance(network, ipaddress.IPv4Network)),
        *ipaddress.collapse_addresses(network for network in found if isinstance(network, ipaddress.IPv6Network)),
    ]


def _migration(firewall: Firewall) -> list[Any]:
    named = [value for value in firewall.migration_from if value != POOL]
    return named + (list(firewall.pool_addresses) if POOL in firewall.migration_from else [])


def _ports(values: Iterable[Any]) -> str:
    spans: list[tuple[int, int]] = []
    # Overlapping ports are joined for the same reason as networks.
    for low, high in sorted((int(first), int(last or first)) for first, _, last in (str(value).partition("-") for value in values)):
        if spans and low <= spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], max(spans[-1][1], high))
        else:
            spans.append((low, high))
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def _rules(firewall: Firewall) -> list[str]:
    rules = [
        "ct state established,related",
        'iifname "lo"',
        # Neighbour discovery and path MTU live on these.
        "meta l4proto { icmp, ipv6-icmp }",
        # Answers of DHCP servers to a broadcast belong to no connection.
        "udp sport 67 udp dport 68",
        "ip6 saddr fe80::/10 udp sport 547 udp dport 546",
    ]
    ways = [("tcp", str(firewall.ssh_port), _networks([*firewall.ssh_from, *_migration(firewall)]))]
    ways += [(way["protocol"], _ports(way["ports"]), _networks(way["from"])) for way in firewall.allow]
    for protocol, ports, networks in ways:
        for family, version in (("ip", 4), ("ip6", 6)):
            members = ", ".join(map(_member, (network for network in networks if network.version == version)))
            if members:
                rules.append(f"{family} saddr {{ {members} }} {protocol} dport {{ {ports} }}")
    return rules


def _member(network: Network) -> str:
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def rule_marks(firewall: Firewall) -> tuple[str, ...]:
    """The comment of every rule in order: one hash of all rules, by which the table in the kernel is compared with what is asked for."""
    rules = _rules(firewall)
    digest = hashlib.sha256("\n".join(rules).encode()).hexdigest()[:16]
    return (f"{TABLE} {digest}",) * len(rules)


def files(firewall: Firewall) -> list[WantedFile]:
    """The rules, and the unit that loads them at the host's start; none while the filter is off."""
    if not firewall.enabled:
        return []
    lines = "".join(
        f'\t\t{rule} accept comment "{mark}"\n' for rule, mark in zip(_rules(firewall), rule_marks(firewall), strict=True))
    return [
        WantedFile(RULES, (
            "#!/usr/sbin/nft -f\n" + _HEADER
            + "# Only what comes in to dom0 itself; other tables are left alone. The old table goes as the new one comes, at once.\n"
            + REMOVAL
            + f"table inet {TABLE} {{\n\tchain input {{\n\t\ttype filter hook input priority filter; policy drop;\n{lines}\t}}\n}}\n"
        )),
        WantedFile(UNIT_FILE, (
            _HEADER
            + "[Unit]\nDescription=Packet filter of dom0\nDefaultDependencies=no\n"
            + "Wants=network-pre.target\nBefore=network-pre.target\n"
            # /etc/nftables.conf begins with `flush ruleset`, which takes this table with it.
            + "After=nftables.service\nPartOf=nftables.service\nReloadPropagatedFrom=nftables.service\n\n"
            + f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/sbin/nft -f {RULES}\n"
            + f"ExecReload=/usr/sbin/nft -f {RULES}\n\n[Install]\nWantedBy=sysinit.target\n"
        )),
    ]


def live_marks(listing: str) -> tuple[str | None, ...]:
    """The comments of the rules in `nft -j list table inet xenfold`, in order; None for a rule without.

    A chain that does not drop by its policy, or a table that is switched off (`flags dormant`), counts as one more rule without a
    comment, so that it never equals what is asked for.
    """
    try:
        entries = json.loads(listing)["nftables"]
    except (ValueError, KeyError, TypeError):
        return (None,)
    chains = [entry["chain"] for entry in entries if "chain" in entry]
    rules = [entry["rule"].get("comment") for entry in entries if "rule" in entry]
    # The flags are a list, in later versions of nftables a text where there is one alone.
    dormant = any("dormant" in (entry["table"].get("flags") or ()) for entry in entries if "table" in entry)
    sound = not dormant and len(chains) == 1 and (chains[0].get("hook"), chains[0].get("policy")) == ("input", "drop")
    return tuple(rules) if sound else (*rules, None)


def client_in(environment: str) -> Client | None:
    """The connection that SSH_CONNECTION names in the environment of a process (as /proc/N/environ holds it); None without.

    Format: address and port of the client, address and port here (ssh(1)).
    """
    for entry in environment.split("\0"):
        name, _, value = entry.partition("=")
        words = value.split()
        if name == "SSH_CONNECTION" and len(words) == 4 and words[3].isdigit():
            try:
                address = ipaddress.ip_address(words[0].partition("%")[0])
            except ValueError:
                return None
            mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
            return Client(mapped or address, int(words[3]))
    return None


def find_client(proc: Path, pid: int) -> Client | None:
    """The SSH connection of a process, or of the nearest one above it that knows it: sudo and su clear the environment.

    proc: where /proc is; pid: the process to begin with.
    """
    seen = set()
    while pid > 1 and pid not in seen:
        seen.add(pid)
        try:
            found = client_in((proc / str(pid) / "environ").read_text(errors="replace"))
            status = (proc / str(pid) / "status").read_text(errors="replace")
        except OSError:
            return None
        if found:
            return found
        parent = re.search(r"^PPid:\s*(\d+)$", status, re.MULTILINE)
        pid = int(parent[1]) if parent else 0
    return None


def obstacles(firewall: Firewall, client: Client | None) -> list[str]:
    """Why the filter would lock out who runs this, in plain words."""
    if not firewall.enabled:
        return []
    if client is None:
        unknown = ("firewall.enabled: value True, allowed over SSH alone: SSH_CONNECTION is in no process above this one, so nothing proves"
                   " that the filter lets you in again. Run over SSH, or set dom0_firewall.enabled to false.")
        return [unknown]
    found = []
    networks = _networks([*firewall.ssh_from, *_migration(firewall)])
    if not any(client.address in network for network in networks if network.version == client.address.version):
        found.append(f"firewall.ssh_from: value {', '.join(map(str, firewall.ssh_from))}, allowed networks that contain {client.address},"
                     " from which this very connection comes: the filter would lock you out.")
    if client.port != firewall.ssh_port:
        found.append(f"firewall.ssh_port: value {firewall.ssh_port}, allowed {client.port}, the port of this very connection: the filter"
                     " would lock you out.")
    return found


def pool_addresses(variables: Mapping[str, Mapping[str, Any]], host: str, default_pool: str) -> list[str]:
    """The addresses of the other hosts of a host's pool, in order, from their variables.

    They are those of `network_bridges`, `network_vlans` and `network_bonds`, and `ansible_host` where it is an address, or the host's
    name without it: a host may call from each of them. default_pool: that of a host that names none. Raises ValueError for a host of
    the pool without any.
    """
    found: set[Network] = set()
    for name in variables:
        if name == host or pool_of(variables[name], default_pool) != pool_of(variables[host], default_pool):
            continue
        addresses = _addresses(name, variables[name])
        if not addresses:
            raise ValueError(
                f"host '{name}': network_bridges: no addresses, allowed one or more, or ansible_host as an address: it is of the pool of"
                f" '{host}', whose dom0_firewall.migration_from says '{POOL}'")
        found |= addresses
    return _in_order(found)


def addresses_of(name: str, variables: Mapping[str, Any]) -> list[str]:
    """The addresses from which one host may call, in order; none when its variables have none."""
    return _in_order(_addresses(name, variables))


def _addresses(name: str, variables: Mapping[str, Any]) -> set[Network]:
    listed = [variables.get("ansible_host", name)]
    for key in ("network_bridges", "network_vlans", "network_bonds"):
        for device in variables.get(key) or ():
            listed += [str(address).partition("/")[0] for address in device.get("addresses") or ()]
    return {network for value in listed if (network := _network(value)) is not None and network.num_addresses == 1}


def _in_order(found: set[Network]) -> list[str]:
    return [_member(network) for network in sorted(found, key=lambda network: (network.version, int(network.network_address)))]


def pool_of(variables: Mapping[str, Any], default: str) -> Any:
    told = variables.get("estate_host")
    return (told.get("pool") if isinstance(told, Mapping) else None) or default

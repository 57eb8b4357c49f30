# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What may be said about the bonds, VLANs and bridges of a host, and whether it holds together.

Pure: shared by the module `network`, the role and the validation of the estate.
"""
from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Item = Mapping[str, Any]

MODES = ("802.3ad", "active-backup", "balance-xor")
REFUSED_MODES = {
    "balance-tlb": "it rewrites source addresses, which breaks the guests behind a bridge",
    "balance-alb": "it rewrites source addresses, which breaks the guests behind a bridge",
    "balance-rr": "it delivers the frames of one connection out of order",
    "broadcast": "it delivers every frame twice",
}
HASH_POLICIES = ("layer2", "layer2+3", "layer3+4", "encap2+3", "encap3+4")
LACP_RATES = ("fast", "slow")
BACKENDS = ("networkd", "ifupdown")
ASSERTS = ("members", "partner", "gateway", "mtu")
MEMBER_KEYS = ("mac", "name", "path")
GATEWAYS = ("gateway", "gateway6")
DEFAULT_MTU = 1500
LEAST_IPV6_MTU = 1280

_ADDRESSING: dict[str, dict[str, Any]] = {
    "addresses": {"type": "list", "elements": "str", "default": []},
    "gateway": {"type": "str"},
    "gateway6": {"type": "str"},
    "nameservers": {"type": "list", "elements": "str", "default": []},
}
MEMBER_SPEC: dict[str, dict[str, Any]] = {key: {"type": "str"} for key in MEMBER_KEYS}
BOND_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "mode": {"type": "str", "required": True},
    "members": {"type": "list", "elements": "dict", "options": MEMBER_SPEC, "required": True},
    "mac": {"type": "str"},
    "mtu": {"type": "int", "default": DEFAULT_MTU},
    "hash_policy": {"type": "str", "default": "layer2+3"},
    "lacp_rate": {"type": "str", "default": "fast"},
    "min_links": {"type": "int", "default": 1},
    "miimon_ms": {"type": "int", "default": 100},
    "updelay_ms": {"type": "int", "default": 200},
    "link_mbps": {"type": "int"},
    **_ADDRESSING,
}
VLAN_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "link": {"type": "str", "required": True},
    "id": {"type": "int", "required": True},
    "mtu": {"type": "int"},
    **_ADDRESSING,
}
BRIDGE_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "port": {"type": "str"},
    "mac": {"type": "str"},
    "mtu": {"type": "int"},
    **_ADDRESSING,
}
SPECS = {"bond": BOND_SPEC, "vlan": VLAN_SPEC, "bridge": BRIDGE_SPEC}

NAME_RULE = "an interface name of at most 15 letters, digits, '_', '.', '-', beginning with a letter"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}")
# The latter two stand for devices in the kernel's settings (net/ipv6/conf/all), and the kernel makes no device of that name.
_SYSTEM_NAMES = ("lo", "all", "default")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PATH = re.compile(r"[A-Za-z0-9_.:/-]+")
_RANGES = {"mtu": (576, 65535), "id": (1, 4094), "min_links": (1, 32), "miimon_ms": (10, 10000),
           "updelay_ms": (0, 60000), "link_mbps": (1, 1000000)}
_CHOICES = {"mode": MODES, "hash_policy": HASH_POLICIES, "lacp_rate": LACP_RATES}
_TYPES: dict[str, tuple[type, str]] = {
    "str": (str, "a text (in quotes)"), "int": (int, "a whole number"), "list": (list, "a list"),
    "dict": (dict, "a mapping of keys and values"),
}


class _Findings(list[str]):
    """Errors, each with item, key, value and what is allowed."""

    def note(self, item: str, key: str, value: Any, allowed: str) -> None:
        self.append(f"{item}: {key}: value {value!r}, allowed {allowed}")


def check_network(bonds: Sequence[Any], vlans: Sequence[Any], bridges: Sequence[Any]) -> list[str]:
    """What is wrong with the network of one host; empty when nothing is.

    bonds, vlans, bridges: items of BOND_SPEC, VLAN_SPEC and BRIDGE_SPEC, with or without their defaults filled in; anything
    else in them is an error of the list, never an exception.
    Returns errors `bond 'NAME': key: value ..., allowed ...`, in the order of the items.
    """
    findings = _Findings()
    for kind, items in (("bond", bonds), ("vlan", vlans), ("bridge", bridges)):
        if not isinstance(items, Sequence) or isinstance(items, str):
            findings.append(f"network_{kind}s: value {items!r}, allowed a list of {kind}s")
            continue
        for number, item in enumerate(items, 1):
            _check_shape(findings, kind, number, item)
    if findings:
        return list(findings)
    _check_names(findings, bonds, vlans, bridges)
    _check_members(findings, bonds)
    _check_layers(findings, bonds, vlans, bridges)
    _check_addressing(findings, bonds, vlans, bridges)
    return list(findings)


def check_options(backend: Any, mtu_peers: Any) -> list[str]:
    """What is wrong with the values beside the devices: who configures the host, and whom packets of full size must reach."""
    findings = []
    if backend not in BACKENDS:
        findings.append(f"network_backend: value {backend!r}, allowed {', '.join(BACKENDS)}")
    if not isinstance(mtu_peers, Sequence) or isinstance(mtu_peers, str):
        findings.append(f"network_mtu_peers: value {mtu_peers!r}, allowed a list of IP addresses")
        return findings
    for number, peer in enumerate(mtu_peers):
        address = _address(peer) if isinstance(peer, str) else None
        if address is None or address.is_multicast or address.is_unspecified or address.is_loopback or address.is_link_local:
            findings.append(f"network_mtu_peers[{number}]: value {peer!r}, allowed the IP address of another machine")
    return findings


def check_ifupdown(bonds: Sequence[Item], vlans: Sequence[Item], bridges: Sequence[Item]) -> list[str]:
    """What ifupdown cannot do of a sound network: to it a dot in a name says `VLAN of what stands before it`."""
    findings = _Findings()
    for kind, item in _named(bonds, vlans, bridges):
        if kind == "vlan" and "." in item["name"] and item["name"] != f"{item['link']}.{item['id']}":
            findings.note(_title(kind, item), "name", item["name"],
                          f"{item['link']}.{item['id']} or a name without a dot, with network_backend ifupdown")
        elif kind != "vlan" and "." in item["name"]:
            findings.note(_title(kind, item), "name", item["name"], "a name without a dot, with network_backend ifupdown")
    return list(findings)


def check_description(
    backend: Any, mtu_peers: Any, bonds: Sequence[Any], vlans: Sequence[Any], bridges: Sequence[Any]
) -> list[str]:
    """All that is wrong with what is said of the network of one host; empty when nothing is."""
    errors = check_options(backend, mtu_peers) + check_network(bonds, vlans, bridges)
    return errors or (check_ifupdown(bonds, vlans, bridges) if backend == "ifupdown" else [])


def _title(kind: str, item: Any, number: int = 0) -> str:
    name = item.get("name") if isinstance(item, Mapping) else None
    return f"{kind} {name!r}" if name is not None else f"{kind} number {number}"


def _check_shape(findings: _Findings, kind: str, number: int, item: Any) -> None:
    """One item on its own: known keys, types, ranges, choices."""
    title, spec = _title(kind, item, number), SPECS[kind]
    if not isinstance(item, Mapping):
        findings.append(f"{title}: value {item!r}, allowed a mapping with the keys {', '.join(spec)}")
        return
    for key in item:
        if key not in spec:
            findings.note(title, str(key), item[key], f"only the keys {', '.join(spec)}")
    for key, rule in spec.items():
        value = item.get(key)
        if value is None:
            if rule.get("required"):
                findings.note(title, key, None, "a value, it is required")
            continue
        if not _typed(value, rule["type"]):
            findings.note(title, key, value, _TYPES[rule["type"]][1])
        elif rule["type"] == "list":
            _check_elements(findings, title, key, value, rule["elements"])
        else:
            _check_value(findings, title, key, value)


def _typed(value: Any, wanted: str) -> bool:
    return isinstance(value, _TYPES[wanted][0]) and not isinstance(value, bool)


def _check_elements(findings: _Findings, title: str, key: str, values: list[Any], wanted: str) -> None:
    for value in values:
        if not _typed(value, wanted):
            findings.note(title, key, value, f"a list in which each is {_TYPES[wanted][1]}")
        elif key == "members":
            given = [name for name in value if value[name] is not None]
            if len(given) != 1 or given[0] not in MEMBER_KEYS:
                findings.note(title, key, dict(value), f"exactly one of the keys {', '.join(MEMBER_KEYS)}")
            else:
                _check_value(findings, title, f"members: {given[0]}", value[given[0]])
    if key == "members" and not values:
        findings.note(title, key, values, "at least one member")


def _check_value(findings: _Findings, title: str, key: str, value: Any) -> None:
    plain = key.removeprefix("members: ")
    if plain in _RANGES and not _RANGES[plain][0] <= value <= _RANGES[plain][1]:
        findings.note(title, key, value, f"{_RANGES[plain][0]} to {_RANGES[plain][1]}")
    elif plain in _CHOICES and value not in _CHOICES[plain]:
        reason = f" ({value} is refused: {REFUSED_MODES[value]})" if value in REFUSED_MODES else ""
        findings.note(title, key, value, f"{', '.join(_CHOICES[plain])}{reason}")
    elif plain == "mac":
        _check_mac(findings, title, key, value)
    elif plain in ("name", "port", "link"):
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            findings.note(title, key, value, NAME_RULE)
    elif plain == "path" and (not isinstance(value, str) or not _PATH.fullmatch(value)):
        findings.note(title, key, value, "the ID_PATH of a network card as in 'pci-0000:03:00.0'")


def _check_mac(findings: _Findings, title: str, key: str, value: Any) -> None:
    if not isinstance(value, str) or not _MAC.fullmatch(value.lower()):
        findings.note(title, key, value, "six pairs of hexadecimal digits with colons, in quotes")
    elif int(value[:2], 16) & 1 or value == "00:00:00:00:00:00":
        findings.note(title, key, value, "a unicast address (the first pair even, not all zero)")


def _named(bonds: Sequence[Item], vlans: Sequence[Item], bridges: Sequence[Item]) -> Iterator[tuple[str, Item]]:
    for kind, items in (("bond", bonds), ("vlan", vlans), ("bridge", bridges)):
        for item in items:
            yield kind, item


def _check_names(
    findings: _Findings, bonds: Sequence[Item], vlans: Sequence[Item], bridges: Sequence[Item]
) -> None:
    owners: dict[str, str] = {}
    macs: dict[str, str] = {}
    for kind, item in _named(bonds, vlans, bridges):
        title = _title(kind, item)
        if item["name"] in owners:
            findings.note(title, "name", item["name"], f"a name of its own, {owners[item['name']]} has this one")
        elif item["name"] in _SYSTEM_NAMES:
            findings.note(title, "name", item["name"], "a name that the system does not use itself")
        owners.setdefault(item["name"], title)
        mac = (item.get("mac") or "").lower()
        if mac and mac in macs:
            findings.note(title, "mac", mac, f"an address of its own, {macs[mac]} has this one")
        macs.setdefault(mac, title)


def _check_members(findings: _Findings, bonds: Sequence[Item]) -> None:
    seen: dict[tuple[str, str], str] = {}
    names = {bond["name"] for bond in bonds}
    for bond in bonds:
        title = _title("bond", bond)
        for member in bond["members"]:
            key, value = member_identity(member)
            if (key, value) in seen:
                findings.note(title, f"members: {key}", value, f"each card once, {seen[key, value]} has this one")
            elif key == "name" and value in names:
                findings.note(title, f"members: {key}", value, "a network card, this is a bond")
            seen.setdefault((key, value), title)
        if (bond.get("min_links") or 1) > len(bond["members"]):
            findings.note(title, "min_links", bond["min_links"], f"1 to {len(bond['members'])}, the number of members")
        miimon_ms, updelay_ms = (_value(bond, BOND_SPEC, key) for key in ("miimon_ms", "updelay_ms"))
        if updelay_ms % miimon_ms:
            findings.note(title, "updelay_ms", updelay_ms, f"a multiple of miimon_ms ({miimon_ms})")


def _check_layers(
    findings: _Findings, bonds: Sequence[Item], vlans: Sequence[Item], bridges: Sequence[Item]
) -> None:
    """What stands on what: links of VLANs, ports of bridges, and that nobody is wider than what carries it."""
    carriers = {bond["name"]: bond for bond in bonds}
    tagged: dict[tuple[str, int], str] = {}
    for vlan in vlans:
        title = _title("vlan", vlan)
        if vlan["link"] not in carriers:
            findings.note(title, "link", vlan["link"], _one_of("bond", sorted(carriers)))
            continue
        room = carried_mtu(vlan["link"], bonds, vlans)
        if vlan.get("mtu") and vlan["mtu"] > room:
            findings.note(title, "mtu", vlan["mtu"], f"at most {room}, the mtu of {vlan['link']} below it")
        if (vlan["link"], vlan["id"]) in tagged:
            owner = tagged[vlan["link"], vlan["id"]]
            findings.note(title, "id", vlan["id"], f"each id once on {vlan['link']}, {owner} has this one")
        tagged.setdefault((vlan["link"], vlan["id"]), title)
    carriers.update({vlan["name"]: vlan for vlan in vlans})
    owners: dict[str, str] = {}
    for bridge in bridges:
        title, port = _title("bridge", bridge), bridge.get("port")
        if port is None:
            continue
        if port not in carriers:
            findings.note(title, "port", port, _one_of("bond or VLAN (a card alone is a bond of one)", sorted(carriers)))
            continue
        room = carried_mtu(port, bonds, vlans)
        if bridge.get("mtu") and bridge["mtu"] != room:
            # The kernel sets a bridge to the mtu of its port whenever the port joins.
            findings.note(title, "mtu", bridge["mtu"], f"{room}, the mtu of its port {port}")
        if port in owners:
            findings.note(title, "port", port, f"each port once, {owners[port]} has this one")
        owners.setdefault(port, title)
        if carriers[port].get("addresses"):
            findings.note(title, "port", port, "a bond or VLAN without addresses (they belong to the bridge)")


def _one_of(what: str, names: list[str]) -> str:
    return f"the name of a {what}: {', '.join(names) or 'there is none'}"


def _value(item: Item, spec: Mapping[str, Mapping[str, Any]], key: str) -> Any:
    value = item.get(key)
    return spec[key].get("default") if value is None else value


def _check_addressing(
    findings: _Findings, bonds: Sequence[Item], vlans: Sequence[Item], bridges: Sequence[Item]
) -> None:
    owners: dict[str, str] = {}
    gateways: dict[int, str] = {}
    for kind, item in _named(bonds, vlans, bridges):
        title = _title(kind, item)
        interfaces: list[ipaddress.IPv4Interface | ipaddress.IPv6Interface] = []
        for text in item.get("addresses") or []:
            try:
                interface = ipaddress.ip_interface(text)
                if "/" not in text or "%" in text or not _usable(interface):
                    raise ValueError
            except ValueError:
                findings.note(title, "addresses", text, "addresses of a host with a prefix as in '10.9.0.1/24'")
                continue
            interfaces.append(interface)
            if str(interface.ip) in owners:
                findings.note(title, "addresses", text, f"each address once, {owners[str(interface.ip)]} has this one")
            owners.setdefault(str(interface.ip), title)
        mtu = item.get("mtu") or carried_mtu(item.get("link") or item.get("port"), bonds, vlans)
        if mtu < LEAST_IPV6_MTU and any(interface.version == 6 for interface in interfaces):
            findings.note(title, "mtu", mtu, f"{LEAST_IPV6_MTU} or more with an IPv6 address")
        _check_gateway(findings, title, item, interfaces, gateways)
        for text in item.get("nameservers") or []:
            if _address(text) is None:
                findings.note(title, "nameservers", text, "IP addresses")


def _usable(interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> bool:
    """Whether a host can have this address: no network or broadcast address, nothing special."""
    ip, network = interface.ip, interface.network
    if ip.is_multicast or ip.is_unspecified or ip.is_loopback or ip.is_link_local:
        return False
    wide = network.num_addresses > 2
    return not (wide and (ip == network.network_address or (ip.version == 4 and ip == network.broadcast_address)))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address; None for anything else, and for one with a zone, which ipaddress lets be any text."""
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def _check_gateway(
    findings: _Findings,
    title: str,
    item: Item,
    interfaces: Sequence[ipaddress.IPv4Interface | ipaddress.IPv6Interface],
    gateways: dict[int, str],
) -> None:
    for key in GATEWAYS:
        text = item.get(key)
        if text is None:
            continue
        gateway = _address(text)
        networks = " or ".join(str(interface.network) for interface in interfaces)
        if gateway is None or not any(gateway in interface.network for interface in interfaces):
            findings.note(title, key, text, f"an address inside {networks or 'a network of addresses, there are none'}")
        elif key == "gateway6" and gateway.version != 6:
            findings.note(title, key, text, "an IPv6 address, an IPv4 one is the gateway")
        elif any(gateway == interface.ip for interface in interfaces):
            findings.note(title, key, text, "an address of another machine, this is the host's own")
        elif gateway.version in gateways:
            findings.note(title, key, text, f"one default route a host and family, {gateways[gateway.version]} has a gateway already")
        else:
            gateways[gateway.version] = title


def gateways_of(item: Item) -> list[str]:
    """The gateways of an item, at most one for each family."""
    return [item[key] for key in GATEWAYS if item.get(key)]


def carried_mtu(name: str | None, bonds: Sequence[Item], vlans: Sequence[Item]) -> int:
    """The mtu of the bond or VLAN `name`: its own, else that of the bond below a VLAN, else 1500."""
    for item in (*bonds, *vlans):
        if item["name"] == name:
            return int(item.get("mtu") or carried_mtu(item.get("link"), bonds, ()))
    return DEFAULT_MTU


def member_identity(member: Item) -> tuple[str, str]:
    """By which key a member is named, and its value; hardware addresses in lower case."""
    key = next(key for key in MEMBER_KEYS if member.get(key) is not None)
    return key, member[key].lower() if key == "mac" else member[key]


def with_defaults(kind: str, items: Sequence[Item]) -> list[dict[str, Any]]:
    """Items of `kind` (bond, vlan, bridge) with the defaults of their spec, hardware addresses in lower case."""
    filled = []
    for item in items:
        full = {key: _value(item, SPECS[kind], key) for key in SPECS[kind]}
        if full.get("mac"):
            full["mac"] = full["mac"].lower()
        for key in ("addresses", "nameservers"):
            full[key] = list(full[key] or [])
        filled.append(full)
    return filled

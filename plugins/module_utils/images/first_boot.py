# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a guest's cloud-init is told at its first boot: the files of a seed (data source NoCloud) and the small disk that holds them."""
from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.images import iso9660

FirstBoot = Mapping[str, Any]

LABEL = "cidata"
SEED_SIZE_GIB = 4 / 1024
"""An extent of LVM."""
SEED_VDEV = "xvdz"
SEED_NAME = re.compile(r"seed-[0-9a-f]{8}")
"""What `seed_name` gives."""
_LARGEST_USER_DATA = 2**20
_MOST_KEYS = 64
_LARGEST_KEY = 8192
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")
_SSH_KEY = re.compile(r"(?:[ -~]* )?(?:ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]+=*(?: [ -~]*)?")

NETWORK_SPEC: dict[str, dict[str, Any]] = {
    "address": {"type": "str"},
    "gateway": {"type": "str"},
    "nameservers": {"type": "list", "elements": "str"},
    "dhcp": {"type": "bool"},
}
FIRST_BOOT_SPEC: dict[str, dict[str, Any]] = {
    "hostname": {"type": "str"},
    "ssh_keys": {"type": "list", "elements": "str"},
    "networks": {"type": "list", "elements": "dict", "options": NETWORK_SPEC},
    "user_data": {"type": "str", "no_log": True},
}


def _wrong(key: str, value: Any, allowed: str) -> str:
    return f"first_boot.{key}: value {value!r}, allowed {allowed}"


def check(first_boot: FirstBoot, cards: int) -> list[str]:
    """What is wrong with a `first_boot` whose keys and types are sound. cards: networks that the guest has. What `user_data` says is never
    told: it may hold passwords."""
    errors = []
    name, keys, user_data = first_boot.get("hostname"), first_boot.get("ssh_keys") or [], first_boot.get("user_data")
    if name is not None and not _HOST_NAME.fullmatch(name):
        errors.append(_wrong("hostname", name, "a host name: letters, digits and '-', with domains after '.'"))
    if len(keys) > _MOST_KEYS:
        errors.append(_wrong("ssh_keys", f"{len(keys)} keys", f"at most {_MOST_KEYS}"))
    for index, key in enumerate(keys):
        if len(key) > _LARGEST_KEY or not _SSH_KEY.fullmatch(key):
            shown = key if len(key) <= _LARGEST_KEY else f"{len(key)} characters"
            errors.append(_wrong(f"ssh_keys[{index}]", shown, "a public key in one line, as ssh-ed25519 AAAA... name"))
    networks = first_boot.get("networks") or []
    if len(networks) > cards:
        errors.append(_wrong("networks", f"{len(networks)} networks", f"one for each of the guest's networks, which are {cards}"))
    for index, network in enumerate(networks):
        errors += _check_network(f"networks[{index}]", network)
    if user_data is not None:
        try:
            size = len(user_data.encode())
        except UnicodeEncodeError:
            size = 0
        if not 0 < size <= _LARGEST_USER_DATA or "\0" in user_data:
            errors.append(f"first_boot.user_data: value of {len(user_data)} characters, allowed a text in UTF-8 of 1 to "
                          f"{_LARGEST_USER_DATA} bytes")
    return errors


def _check_network(key: str, network: FirstBoot) -> list[str]:
    address, gateway = network.get("address"), network.get("gateway")
    if network.get("dhcp"):
        return [_wrong(f"{key}.{other}", network[other], "nothing beside dhcp") for other in ("address", "gateway", "nameservers")
                if network.get(other)]
    if address is None:
        return [f"first_boot.{key}.address: is missing; a network has an address, or dhcp: true"]
    errors = []
    try:
        # A text out of a vault gives itself only in parts.
        interface = ipaddress.ip_interface(address[:])
    except ValueError:
        interface = None
    if interface is None or "/" not in address:
        return [_wrong(f"{key}.address", address, "an address with the length of its prefix, as 10.0.0.5/24")]
    if gateway is not None:
        try:
            # A gateway of IPv6 may be link-local.
            near = ipaddress.ip_address(gateway[:])
            sound = near in interface.network or (near.version == interface.version == 6 and near.is_link_local)
        except ValueError:
            sound = False
        if not sound:
            errors.append(_wrong(f"{key}.gateway", gateway, f"an address in {interface.network}"))
    for index, server in enumerate(network.get("nameservers") or []):
        try:
            ipaddress.ip_address(server[:])
        except ValueError:
            errors.append(_wrong(f"{key}.nameservers[{index}]", server, "an address"))
    return errors


def seed_name(guest: Mapping[str, Any]) -> str:
    """The name of a guest's seed disk. guest: with `uuid`, and `mac` of its networks.

    It follows from what the seed says, so a seed is never written a second time: another content is another volume. It is made from the
    values themselves and not from the files, whose form may change.
    """
    digest = hashlib.sha256(json.dumps(_said(guest), sort_keys=True).encode()).hexdigest()
    return f"seed-{digest[:8]}"


def _said(guest: Mapping[str, Any]) -> dict[str, Any]:
    first_boot = guest["first_boot"]
    networks = [{"mac": card["mac"]} | {key: value for key, value in network.items() if value not in (None, False, [])}
                for network, card in zip(first_boot.get("networks") or [], guest["networks"], strict=False)]
    return {"uuid": guest["uuid"], "hostname": first_boot.get("hostname") or guest["name"], "ssh_keys": first_boot.get("ssh_keys") or [],
            "networks": networks, "user_data": first_boot.get("user_data") or ""}


def files(guest: Mapping[str, Any]) -> dict[str, str]:
    """The seed's files by name; JSON is YAML, and has one form. guest: as for seed_name.

    The instance is the guest by its uuid: a guest whose disk knows it does not begin anew because its seed has changed.
    """
    said = _said(guest)
    meta = {"instance-id": said["uuid"], "local-hostname": said["hostname"]}
    meta |= {"public-keys": said["ssh_keys"]} if said["ssh_keys"] else {}
    found = {"meta-data": _text(meta), "user-data": said["user_data"] or "#cloud-config\n{}\n"}
    if said["networks"]:
        cards = [{"type": "physical", "name": f"eth{number}", "mac_address": network["mac"], "subnets": [_subnet(network)]}
                 for number, network in enumerate(said["networks"])]
        found["network-config"] = _text({"version": 1, "config": cards})
    return found


def _subnet(network: Mapping[str, Any]) -> dict[str, Any]:
    if network.get("dhcp"):
        return {"type": "dhcp"}
    servers: Sequence[str] = network.get("nameservers") or []
    return ({"type": "static", "address": network["address"]} | ({"gateway": network["gateway"]} if "gateway" in network else {})
            | ({"dns_nameservers": list(servers)} if servers else {}))


def _text(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def seed(contents: Mapping[str, str]) -> bytes:
    """The seed disk with these files."""
    return iso9660.image(LABEL, {name: content.encode() for name, content in contents.items()})

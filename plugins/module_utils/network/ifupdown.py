# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The network as one file of ifupdown, and what other files of ifupdown say. Pure.

Sources: interfaces(5) of ifupdown 0.8; README.Debian of ifenslave; bridge-utils-interfaces(5).
"""
from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import render
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import gateways_of, member_identity

INTERFACES = "/etc/network/interfaces"
DIRECTORY = "/etc/network/interfaces.d"
FILE = f"{DIRECTORY}/xenfold"
# ifupdown's service needs the file; the loopback alone is no work for it.
_LOOPBACK = "auto lo\niface lo inet loopback\n"
NO_STANZAS = f"# The network of this host is configured in {render.DIRECTORY}.\n{_LOOPBACK}"
SOURCING = f"# The network of this host is configured in {DIRECTORY}.\nsource {DIRECTORY}/*\n\n{_LOOPBACK}"
_PLAIN_NAME = re.compile(r"[a-zA-Z0-9_-]+")

Names = Mapping[tuple[str, str], str]


def ifupdown_files(network: render.Network, names: Names) -> list[WantedFile]:
    """Every file of the network, sorted by path.

    names: the name of the card on the host by (key, value) of a member; a member without one stands there as it is described.
    """
    blocks = ["\n".join(_device(network, kind, item, names)) + "\n" for kind, item in network.devices()]
    files = [WantedFile(FILE, "\n".join([render.header(network.host), *blocks]))] if blocks else []
    return sorted([*files, *render.bridge_filter_files(network)], key=lambda file: file.path)


def _device(network: render.Network, kind: str, item: render.Item, names: Names) -> Iterator[str]:
    """The lines of one device. `auto` alone, in the order of the file: what is hotplugged would come up before what carries it."""
    name, addresses = item["name"], item["addresses"]
    families = [[address for address in addresses if (":" in address) == (version == 6)] for version in (4, 6)]
    gateways = [[gateway for gateway in gateways_of(item) if (":" in gateway) == (version == 6)] for version in (4, 6)]
    options = {"bond": _bond, "vlan": _vlan, "bridge": _bridge}[kind](item, names)
    if kind == "bond":
        for member in item["members"]:
            key, value = member_identity(member)
            if key != "name" or names.get((key, value), value) != value:
                yield f"# {names.get((key, value), 'a member')} of {name} is the card with {key} {value}"
    yield f"auto {name}"
    yield f"iface {name} inet {'static' if families[0] else 'manual'}"
    yield from (f"    {line}" for line in options)
    yield f"    mtu {item['mtu']}"
    yield from (f"    address {address}" for address in families[0][:1])
    yield from (f"    gateway {gateway}" for gateway in gateways[0])
    if item["nameservers"]:
        yield f"    dns-nameservers {' '.join(item['nameservers'])}"
    if not families[1]:
        # Silent: no link-local address, and nothing that a guest's network announces is taken.
        yield f"    up {ipv6_switch(name, off=True)}"
    yield from (line for address in families[0][1:] for line in (f"iface {name} inet static", f"    address {address}"))
    for number, address in enumerate(families[1]):
        yield f"iface {name} inet6 static"
        yield f"    address {address}"
        yield from (f"    gateway {gateway}" for gateway in gateways[1] if number == 0)
        # Looking for duplicates takes a link; without one ifup would give up, and leave the gateway out.
        yield from ("    accept_ra 0", "    autoconf 0", "    dad-attempts 0")


def ipv6_switch(name: str, off: bool) -> str:
    """The command that switches IPv6 of one device; a kernel without IPv6 is content with either."""
    return f"sysctl -q -e -w net/ipv6/conf/{name}/disable_ipv6={int(off)}"


def _bond(bond: render.Item, names: Names) -> Iterator[str]:
    yield f"bond-mode {bond['mode']}"
    yield f"bond-miimon {bond['miimon_ms']}"
    yield f"bond-updelay {bond['updelay_ms']}"
    if bond["mode"] != "active-backup":
        yield f"bond-xmit-hash-policy {bond['hash_policy']}"
    if bond["mode"] == "802.3ad":
        yield f"bond-lacp-rate {bond['lacp_rate']}"
        # ifenslave knows no word for it.
        yield f"up echo {bond['min_links']} > /sys/class/net/{bond['name']}/bonding/min_links"
    identities = [member_identity(member) for member in bond["members"]]
    yield f"bond-slaves {' '.join(names.get(identity, identity[1]) for identity in identities)}"
    yield f"hwaddress {bond['mac']}"


def _vlan(vlan: render.Item, _names: Names) -> Iterator[str]:
    name = vlan["name"]
    if "." not in name:
        # What has a dot in its name ifupdown makes by itself.
        yield f"pre-up test -e /sys/class/net/{name} || ip link add link {vlan['link']} name {name} type vlan id {vlan['id']}"
        yield f"post-down ip link delete dev {name}"


def _bridge(bridge: render.Item, _names: Names) -> Iterator[str]:
    yield f"bridge_ports {bridge['port'] or 'none'}"
    yield f"bridge_hw {bridge['mac']}"
    yield "bridge_stp off"
    yield "bridge_fd 0"
    yield "bridge_maxwait 0"


def stanzas(text: str) -> dict[str, set[str]]:
    """The methods (static, dhcp, manual ...) by interface of a file, the loopback left out."""
    found: dict[str, set[str]] = {}
    for words in map(str.split, _joined(text)):
        if len(words) >= 2 and words[0] == "iface" and words[1] != "lo":
            found.setdefault(words[1], set()).update(words[3:4])
    return found


def blocks(text: str) -> dict[str, str]:
    """What our own file says of each device."""
    return {found[1]: block.strip() for block in text.split("\n\n") if (found := re.search(r"^auto (\S+)$", block, re.MULTILINE))}


def sources(text: str) -> bool:
    """Whether /etc/network/interfaces takes in our file."""
    for words in map(str.split, _joined(text)):
        for pattern in words[1:] if words and words[0] in ("source", "source-directory") else ():
            path = posixpath.join(posixpath.dirname(INTERFACES), pattern)
            if words[0] == "source-directory":
                if fnmatch.fnmatchcase(DIRECTORY, posixpath.normpath(path)) and _PLAIN_NAME.fullmatch(posixpath.basename(FILE)):
                    return True
            elif fnmatch.fnmatchcase(FILE, posixpath.normpath(path)):
                return True
    return False


def _joined(text: str) -> Sequence[str]:
    """The lines that count: continued ones put together, comments left out."""
    return [line for line in re.sub(r"\\\n", " ", text).splitlines() if not line.lstrip().startswith("#")]

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the wanted network and the state of the host to the change between them, or the reasons not to make it. Pure."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, differing
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import live, render
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import member_identity

INTERFACES = "/etc/network/interfaces"
REPLACEABLE = (f"{render.DIRECTORY}/", "/etc/network/interfaces.d/", render.SYSCTL, render.UDEV)
# ifupdown's service needs the file; without stanzas it does nothing.
NO_STANZAS = "# The network of this host is configured in /etc/systemd/network.\nauto lo\niface lo inet loopback\n"
NETWORKD = "systemd-networkd.service"
RESOLVED = "systemd-resolved.service"


@dataclass(frozen=True)
class State:
    """A host's network. files: content by path of every file that could matter; gateways: default routes as
    (gateway, device); neighbours: state by address; filters: values of bridge-nf-call-* while br_netfilter is loaded."""

    links: Mapping[str, live.Link]
    bonds: Mapping[str, live.BondState]
    files: Mapping[str, str]
    gateways: frozenset[tuple[str, str]] = frozenset()
    neighbours: Mapping[str, str] = field(default_factory=dict)
    filters: Mapping[str, str] = field(default_factory=dict)
    active: bool = True
    enabled: bool = True
    network_manager: bool = False
    resolved: bool = True


@dataclass(frozen=True)
class Change:
    """What must happen. delete: devices that go for good; rebuild: those that networkd makes anew with other settings;
    create: those that are not there; reconfigure: existing ones (with their members and ports) that networkd sets up again;
    free: cards that leave a bond; joins: (device, the one above it) of the whole wanted network. By name, what is carried
    before what carries it."""

    write: tuple[WantedFile, ...]
    remove: tuple[str, ...]
    delete: tuple[str, ...]
    rebuild: tuple[str, ...]
    create: tuple[str, ...]
    reconfigure: tuple[str, ...]
    free: tuple[str, ...]
    joins: tuple[tuple[str, str], ...]
    enable: bool
    start: bool
    filters: bool
    actions: tuple[Action, ...]

    @property
    def ifupdown(self) -> bool:
        """Whether ifupdown gives up interfaces."""
        return any(file.path == INTERFACES for file in self.write) or any("/interfaces.d/" in path for path in self.remove)


def find_card(member: Mapping[str, Any], links: Mapping[str, live.Link]) -> live.Link | None:
    """The network card that a member of a bond names, if the host has it."""
    key, value = member_identity(member)
    for link in links.values():
        known = {"mac": (link.permanent_mac,), "name": (link.name, *link.other_names), "path": (link.id_path,)}
        if link.is_card and value in known[key]:
            return link
    return None


def wanted_files(network: render.Network, state: State, replace: Sequence[str]) -> list[WantedFile]:
    """Files to be there: the rendered ones, and ifupdown's without stanzas when it is to be replaced."""
    files = render.networkd_files(network)
    if INTERFACES in replace and live.ifupdown_interfaces(state.files.get(INTERFACES, "")):
        files.append(WantedFile(INTERFACES, NO_STANZAS))
    return files


def removed_files(network: render.Network, state: State, replace: Sequence[str]) -> list[str]:
    """Files to go: our own of earlier runs, and others by consent."""
    kept = {file.path for file in render.networkd_files(network)}
    ours = {path for path in state.files if path.startswith(render.PREFIX) or path in (render.SYSCTL, render.UDEV)}
    by_consent = {path for path in replace if path != INTERFACES and path in state.files}
    return sorted((ours | by_consent) - kept)


def refusals(network: render.Network, state: State, replace: Sequence[str]) -> list[str]:
    """Why the change must not be made; empty when nothing speaks against it. Each names the thing and the way out."""
    found = [
        f"network_replace: value {path!r}, allowed {INTERFACES} and files in {' and '.join(REPLACEABLE[:2])}"
        for path in replace if path != INTERFACES and (not path.startswith(REPLACEABLE) or "/../" in path)
    ]
    if state.network_manager:
        found.append("NetworkManager runs on this host and would configure the same cards: stop and disable it first")
    if not state.resolved:
        # networkd only hands name servers on; without systemd-resolved nobody on the host would ever ask them.
        found += [f"{kind} {item['name']!r}: nameservers: value {list(item['nameservers'])}, allowed nothing while {RESOLVED} does not"
                  " run on this host: install systemd-resolved, or leave nameservers out and keep /etc/resolv.conf"
                  for kind, item in network.devices() if item["nameservers"]]
    removed = removed_files(network, state, replace)
    if not network.devices() and set(removed) - set(replace):
        found.append("nothing is described, but this host has a network of this role: describe it, or consent to its removal "
                     f"by listing in network_replace {', '.join(sorted(set(removed) - set(replace)))}")
    gone = set(_stale_devices(network, state, removed)) | _given_up_by_ifupdown(state, replace)
    found += _missing_members(network, state)
    if not found:
        found += _taken(network, state, gone) + _other_owners(network, state, replace, removed)
    for name in sorted(gone & set(state.links)):
        guests = sorted(link.name for link in state.links.values() if link.master == name and link.is_guest_port)
        if guests:
            found.append(f"{name} would be deleted but guests are on it by {', '.join(guests)}: move or stop them first")
    return found


def _missing_members(network: render.Network, state: State) -> list[str]:
    cards = [
        f"{link.name} ({link.permanent_mac}{f', {link.id_path}' if link.id_path else ''}, "
        f"{'link' if link.carrier else 'no link' if link.up else 'down'})"
        for link in sorted(state.links.values(), key=lambda link: link.name) if link.is_card
    ]
    found: list[str] = []
    owners: dict[str, str] = {}
    for bond in network.bonds:
        for member in bond["members"]:
            key, value = member_identity(member)
            card = find_card(member, state.links)
            if card is None:
                found.append(f"bond {bond['name']!r}: members: {key}: value {value!r} is no card of this host, "
                             f"allowed {', '.join(cards) or 'nothing, it has none'}")
            elif card.name in owners:
                found.append(f"bond {bond['name']!r}: members: {key}: value {value!r} is {card.name}, "
                             f"which is a member of bond {owners[card.name]!r} already")
            else:
                owners[card.name] = bond["name"]
    return found


def _taken(network: render.Network, state: State, gone: set[str]) -> list[str]:
    found = []
    for kind, item in network.devices():
        link = state.links.get(item["name"])
        if link and link.kind != kind and link.name not in gone:
            found.append(f"{kind} {item['name']!r}: name: this host has a {link.kind or 'network card'} of that name")
    for bond in network.bonds:
        for member in bond["members"]:
            card = find_card(member, state.links)
            if card and card.master and card.master != bond["name"] and card.master not in gone | _names(network):
                found.append(f"bond {bond['name']!r}: member {card.name} belongs to {card.master}, which is not of this "
                             "description: list the file that makes it in network_replace, or delete it")
    return found


def _names(network: render.Network) -> set[str]:
    return {item["name"] for _kind, item in network.devices()}


def _other_owners(network: render.Network, state: State, replace: Sequence[str], removed: Sequence[str]) -> list[str]:
    """Configuration of others that would win over ours: networkd takes the first file that matches."""
    after = {path: text for path, text in state.files.items() if path not in removed}
    after |= {file.path: file.content for file in render.networkd_files(network)}
    links = [live.Link(item["name"], kind, item.get("mac", ""), "", 0, False, False, None, None, ())
             for kind, item in network.devices()]
    links += [card for bond in network.bonds for member in bond["members"] if (card := find_card(member, state.links))]
    found = []
    for link in links:
        path = live.first_match(after, link)
        if path and not path.startswith(render.PREFIX):
            cure = "list it in network_replace" if path.startswith(REPLACEABLE) else "remove what writes it (netplan?)"
            found.append(f"{link.name} is configured by {path}, which comes before this role's files: {cure}")
    names = {link.name for link in links}
    for path, text in sorted(state.files.items()):
        if path.startswith("/etc/network/interfaces") and path not in replace:
            shared = sorted(names & live.ifupdown_interfaces(text))
            if shared:
                found.append(f"{', '.join(shared)} is configured by ifupdown in {path}: list it in network_replace")
    return found


def _given_up_by_ifupdown(state: State, replace: Sequence[str]) -> set[str]:
    names: set[str] = set()
    for path in replace:
        if path.startswith("/etc/network/"):
            names |= live.ifupdown_interfaces(state.files.get(path, ""))
    return {name for name in names if name in state.links and state.links[name].kind}


def _stale_devices(network: render.Network, state: State, removed: Sequence[str]) -> list[str]:
    """Devices whose .netdev goes and that are not wanted any more; what is carried before what carries."""
    made = {live.netdev_name(state.files[path]) or "" for path in removed if path.endswith(".netdev")}
    stale = [state.links[name] for name in made if name in state.links and name not in _names(network)]
    return [link.name for link in sorted(stale, key=lambda link: (_top_first(link.kind), link.name))]


def _top_first(kind: str) -> int:
    return {"bridge": 0, "vlan": 1}.get(kind, 2)


def drift(network: render.Network, state: State) -> dict[str, list[str]]:
    """What of the wanted network does not hold on the host, by device; empty when all of it holds."""
    found: dict[str, list[str]] = {}
    for kind, item in network.devices():
        link = state.links.get(item["name"])
        lines = ["is not there"] if link is None or link.kind != kind else (
            _settings(kind, item, link) + _attachments(network, kind, item, state) + _interface(item, link, state))
        if lines:
            found[item["name"]] = lines
    return found


def _compare(pairs: Sequence[tuple[str, Any, Any]]) -> list[str]:
    return [f"{key} is {actual} instead of {wanted}" for key, wanted, actual in pairs if wanted != actual]


def _settings(kind: str, item: render.Item, link: live.Link) -> list[str]:
    """Settings that a device has from the moment it is made (names of `ip -d link`)."""
    data = link.data
    if kind == "vlan":
        return _compare([("id", item["id"], data.get("id")), ("link", item["link"], link.below)])
    if kind == "bridge":
        return _compare([("stp_state", 0, data.get("stp_state")), ("forward_delay", 0, data.get("forward_delay"))])
    pairs = [(key, item[wanted], data.get(key)) for key, wanted in
             (("mode", "mode"), ("miimon", "miimon_ms"), ("updelay", "updelay_ms"))]
    if item["mode"] != "active-backup":
        pairs.append(("xmit_hash_policy", item["hash_policy"], data.get("xmit_hash_policy")))
    if item["mode"] == "802.3ad":
        pairs += [("ad_lacp_rate", item["lacp_rate"], data.get("ad_lacp_rate")),
                  ("min_links", item["min_links"], data.get("min_links"))]
    return _compare(pairs)


def _attachments(network: render.Network, kind: str, item: render.Item, state: State) -> list[str]:
    lines = []
    if kind == "bond":
        members = {card.name for member in item["members"] if (card := find_card(member, state.links))}
        actual = {link.name for link in state.links.values() if link.master == item["name"]}
        lines += [f"{name} is not a member" for name in sorted(members - actual)]
        lines += [f"{name} is a member" for name in sorted(actual - members)]
    if kind == "bridge" and item["port"]:
        port = state.links.get(item["port"])
        if port is None or port.master != item["name"]:
            lines.append(f"{item['port']} is not its port")
    if kind != "bridge" and network.bridge_of(item["name"]) is None and state.links[item["name"]].master:
        lines.append(f"is a port of {state.links[item['name']].master}")
    return lines


def _interface(item: render.Item, link: live.Link, state: State) -> list[str]:
    lines = _compare([("mtu", item["mtu"], link.mtu)])
    if item.get("mac"):
        lines += _compare([("mac", item["mac"], link.mac)])
    if not link.up:
        lines.append("is down")
    present = {address.lower() for address in link.addresses}
    lines += [f"has no address {address}" for address in item["addresses"] if address.lower() not in present]
    if item["gateway"] and (item["gateway"], item["name"]) not in state.gateways:
        lines.append(f"has no default route by {item['gateway']}")
    return lines


def plan(network: render.Network, state: State, replace: Sequence[str]) -> Change:
    """The change from `state` to `network`. Call it when `refusals` is empty; without actions there is nothing to do."""
    write = differing(wanted_files(network, state, replace), state.files)
    remove = removed_files(network, state, replace)
    delete = _stale_devices(network, state, remove)
    drifted = drift(network, state)
    kinds = {item["name"]: kind for kind, item in network.devices()}
    create = [name for name in kinds if name in drifted and name not in state.links]
    rebuild = [item["name"] for kind, item in network.devices() if kind != "bridge" and item["name"] in state.links
               and (state.links[item["name"]].kind != kind or _settings(kind, item, state.links[item["name"]]))]
    touch = [name for name in drifted if name not in create + rebuild]
    loose = [link for name in touch for link in _loose(network, name, state)]
    filters = bool(network.bridges) and any(value != "0" for value in state.filters.values())
    actions = [Action("change" if file.path in state.files else "write", f"file {file.path}") for file in write]
    actions += [Action("remove", f"file {path}") for path in remove]
    if kinds and not state.enabled:
        actions.append(Action("enable", f"service {NETWORKD}"))
    if kinds and not state.active:
        actions.append(Action("start", f"service {NETWORKD}"))
    actions += [Action("delete", f"{state.links[name].kind} {name}") for name in delete]
    for verb, names in (("rebuild", rebuild), ("create", create), ("change", touch)):
        actions += [Action(verb, f"{kinds[name]} {name}", "" if verb == "create" else ", ".join(drifted[name])) for name in names]
    if filters:
        actions.append(Action("change", "packet filter of bridged frames", "off"))
    return Change(tuple(write), tuple(remove), tuple(delete), _carried_first(rebuild, kinds), _carried_first(create, kinds),
                  tuple(dict.fromkeys(touch + [link.name for link in loose if not link.master])),
                  tuple(link.name for link in loose if link.master), _joins(network, state),
                  bool(kinds) and not state.enabled, bool(kinds) and not state.active, filters, tuple(actions))


def _joins(network: render.Network, state: State) -> tuple[tuple[str, str], ...]:
    cards = [(card.name, bond["name"]) for bond in network.bonds for member in bond["members"]
             if (card := find_card(member, state.links))]
    return tuple(cards + [(bridge["port"], bridge["name"]) for bridge in network.bridges if bridge["port"]])


def _loose(network: render.Network, name: str, state: State) -> list[live.Link]:
    """Cards and ports that belong to the device `name` and are in nothing, and cards that are in it and do not belong to it."""
    members: set[str] = set()
    for kind, item in network.devices():
        if item["name"] == name and kind == "bond":
            members = {card.name for member in item["members"] if (card := find_card(member, state.links))}
        elif item["name"] == name and kind == "bridge":
            members = {item["port"]} | {link.name for link in state.links.values() if link.master == name}
    return [link for link in state.links.values()
            if (link.name in members and link.master is None) or (link.master == name and link.name not in members)]


def _carried_first(names: Sequence[str], kinds: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: (_top_first(kinds[name]), name)))


def unmet(network: render.Network, state: State, asserted: Sequence[str]) -> list[str]:
    """What keeps the new network from being confirmed: drift, and of `asserted` (members, partner, gateway) what fails."""
    kinds = {item["name"]: kind for kind, item in network.devices()}
    lines = [f"{kinds[name]} {name!r}: {line}" for name, found in drift(network, state).items() for line in found]
    for bond in network.bonds:
        actual = state.bonds.get(bond["name"])
        if actual is None:
            continue
        if "members" in asserted:
            lines += [f"bond {bond['name']!r}: member {name} has no link" for name, link in actual.links.items() if not link]
            lines += [f"bond {bond['name']!r}: member {name} is not in the active aggregate"
                      for name, link in actual.links.items() if link and name not in actual.aggregated]
        if "partner" in asserted and actual.partner == live.NO_PARTNER:
            lines.append(f"bond {bond['name']!r}: no LACP partner answers; is the switch's side configured?")
    if "gateway" in asserted:
        lines += [f"{kind} {item['name']!r}: gateway {item['gateway']} does not answer" for kind, item in network.devices()
                  if item["gateway"] and state.neighbours.get(item["gateway"]) not in ("REACHABLE", "PERMANENT", "NOARP")]
    return lines

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the wanted network and the state of the host to the change between them. Pure."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, differing
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import handover, ifupdown, live, render
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.state import NETWORKD, NETWORKING, State, find_card
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import gateways_of


@dataclass(frozen=True)
class Change:
    """What must happen. take_down: what ifupdown gives up by its old files; forget: what it is not told of when it goes or
    passes to networkd; delete: devices that go for good; rebuild: those that are made anew with other settings or by another
    backend; create: those that are not there; reconfigure: existing ones (with their members and ports) that are set up again;
    free: cards that leave a bond; joins: (device, the one above it) of the whole wanted network. By name, what is carried
    before what carries it.

    enable, start: the service of the backend; idle: networkd, which has nothing left to do, is stopped and disabled."""

    write: tuple[WantedFile, ...]
    remove: tuple[str, ...]
    take_down: tuple[str, ...]
    forget: tuple[str, ...]
    delete: tuple[str, ...]
    rebuild: tuple[str, ...]
    create: tuple[str, ...]
    reconfigure: tuple[str, ...]
    free: tuple[str, ...]
    joins: tuple[tuple[str, str], ...]
    enable: bool
    start: bool
    idle: bool
    filters: bool
    actions: tuple[Action, ...]


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
    lines += [f"has no default route by {gateway}" for gateway in gateways_of(item) if (gateway, item["name"]) not in state.gateways]
    return lines


def plan(network: render.Network, state: State, replace: Sequence[str]) -> Change:
    """The change from `state` to `network`. Call it when `refusals` is empty; without actions there is nothing to do."""
    replace = handover.consented(network, replace)
    write = differing(handover.wanted_files(network, state, replace), state.files)
    remove = handover.removed_files(network, state, replace)
    take_down = handover.taken_down(network, state, replace)
    delete = handover.stale_devices(network, state, remove)
    drifted = drift(network, state)
    kinds = {item["name"]: kind for kind, item in network.devices()}
    rebuild = {item["name"]: why for kind, item in network.devices() if (why := _rebuilt(network, state, replace, kind, item))}
    rebuild |= {vlan["name"]: f"goes with {vlan['link']}" for vlan in network.vlans
                if vlan["link"] in rebuild and vlan["name"] in state.links and vlan["name"] not in rebuild}
    create = [name for name in kinds if name not in state.links]
    passing = _passing(network, state, replace, write)
    touch = [name for name in kinds if (name in drifted or name in passing) and name not in create and name not in rebuild]
    loose = [link for name in touch for link in _loose(network, name, state)]
    left = set(handover.own_stanzas(state)) | set(handover.given_up(state, replace)) - set(take_down)
    forget = [name for name in left if name not in kinds or network.backend == "networkd"]
    by_ifupdown = bool(kinds) and network.backend == "ifupdown"
    idle = by_ifupdown and (state.active or state.enabled) and not handover.networkd_needed(state, remove)
    enable = bool(kinds) and not (state.networking if by_ifupdown else state.enabled)
    start = bool(kinds) and not by_ifupdown and not state.active
    filters = bool(network.bridges) and any(value != "0" for value in state.filters.values())

    actions = [Action("change" if file.path in state.files else "write", f"file {file.path}") for file in write]
    actions += [Action("remove", f"file {path}") for path in remove]
    actions += [Action("enable", f"service {NETWORKING if by_ifupdown else NETWORKD}")] if enable else []
    actions += [Action("start", f"service {NETWORKD}")] if start else []
    actions += [Action("disable", f"service {NETWORKD}", "nothing is left for it")] if idle else []
    actions += [Action("take down", f"interface {name}", "ifupdown gives it up") for name in take_down if name not in kinds]
    actions += [Action("delete", f"{state.links[name].kind} {name}") for name in delete]
    actions += [Action("rebuild", f"{kinds[name]} {name}", why) for name, why in rebuild.items()]
    actions += [Action("create", f"{kinds[name]} {name}") for name in create]
    actions += [Action("change", f"{kinds[name]} {name}", ", ".join(drifted.get(name) or [passing[name]])) for name in touch]
    actions += [Action("change", "packet filter of bridged frames", "off")] if filters else []
    return Change(
        write=tuple(write), remove=tuple(remove), take_down=tuple(take_down), forget=tuple(sorted(forget)),
        delete=tuple(delete), rebuild=_carried_first(list(rebuild), kinds), create=_carried_first(create, kinds),
        reconfigure=tuple(dict.fromkeys(touch + [link.name for link in loose if not link.master])),
        free=tuple(link.name for link in loose if link.master), joins=_joins(network, state),
        enable=enable, start=start, idle=idle, filters=filters, actions=tuple(actions))


def _passing(
    network: render.Network, state: State, replace: Sequence[str], write: Sequence[WantedFile]
) -> dict[str, str]:
    """Devices that ifupdown must be told to set up though they are there, and why; networkd sees that for itself."""
    if network.backend != "ifupdown":
        return {}
    before = ifupdown.blocks(state.files.get(ifupdown.FILE, ""))
    after = {name: block for file in write if file.path == ifupdown.FILE for name, block in ifupdown.blocks(file.content).items()}
    there = [item["name"] for _kind, item in network.devices() if item["name"] in state.links]
    return ({name: "its stanza changes" for name in there if name in after and after[name] != before.get(name)}
            | {name: "passes to ifupdown" for name in there if handover.changes_hands(network, state, replace, name)})


def _rebuilt(network: render.Network, state: State, replace: Sequence[str], kind: str, item: render.Item) -> str:
    """Why a device that is there is made anew; empty when it is not. A bridge stays, for the guests that are or will be on it,
    unless ifupdown takes it down."""
    name = item["name"]
    link = state.links.get(name)
    if link is None:
        return ""
    if name in handover.taken_down(network, state, replace):
        return "ifupdown gives it up"
    if kind == "bridge":
        return ""
    if link.kind != kind:
        return "is of another kind"
    settings = _settings(kind, item, link)
    if not settings and handover.changes_hands(network, state, replace, name):
        return f"passes to {network.backend}"
    return ", ".join(settings)


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
    return tuple(sorted(names, key=lambda name: (handover.top_first(kinds[name]), name)))


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
        lines += [f"{kind} {item['name']!r}: gateway {gateway} does not answer" for kind, item in network.devices()
                  for gateway in gateways_of(item) if state.neighbours.get(gateway) not in ("REACHABLE", "PERMANENT", "NOARP")]
    return lines

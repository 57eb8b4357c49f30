# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why a change of the network must not be made. Each reason names the thing and the way out. Pure."""
from __future__ import annotations

from collections.abc import Iterator, Sequence

from ansible_collections.xenfold.consolidation.plugins.module_utils.network import handover, ifupdown, live, render
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.ifupdown import INTERFACES
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.state import NETWORKD, RESOLVED, State, find_card
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import member_identity

REPLACEABLE = (f"{render.DIRECTORY}/", f"{ifupdown.DIRECTORY}/", render.SYSCTL, render.UDEV)


def refusals(network: render.Network, state: State, replace: Sequence[str], mtu_peers: Sequence[str] = ()) -> list[str]:
    """Why the change must not be made; empty when nothing speaks against it. mtu_peers: those that will be asked."""
    found = [
        f"network_replace: value {path!r}, allowed {INTERFACES} and files in {' and '.join(REPLACEABLE[:2])}"
        for path in replace if path != INTERFACES and (not path.startswith(REPLACEABLE) or "/../" in path)
    ]
    replace = handover.consented(network, replace)
    if state.network_manager and network.devices():
        found.append("NetworkManager runs on this host and would configure the same cards: stop and disable it first")
    found += _missing_programs(network, state, mtu_peers)
    removed = handover.removed_files(network, state, replace)
    if not network.devices() and set(removed) - set(replace):
        found.append("nothing is described, but this host has a network of this role: describe it, or consent to its removal "
                     f"by listing in network_replace {', '.join(sorted(set(removed) - set(replace)))}")
    taken_down = handover.taken_down(network, state, replace)
    gone = {name for name in taken_down if name in state.links and state.links[name].kind}
    gone |= set(handover.stale_devices(network, state, removed))
    found += _missing_members(network, state)
    if not found:
        found += _taken(network, state, gone) + _other_owners(network, state, replace, removed)
    for name in sorted(gone):
        guests = handover.guests_on(state, name)
        if guests:
            found.append(f"{name} would be deleted but guests are on it by {', '.join(guests)}: move or stop them first")
    for name, methods in handover.given_up(state, replace).items():
        if "dhcp" in methods and name not in taken_down:
            found.append(f"{name} has its address from DHCP by ifupdown, which cannot let go of it while guests are on it by "
                         f"{', '.join(handover.guests_on(state, name))}: move or stop them first")
    return found


def _missing_programs(network: render.Network, state: State, mtu_peers: Sequence[str]) -> Iterator[str]:
    if not state.resolved:
        # Both backends only hand name servers on; without systemd-resolved nobody on the host would ever ask them.
        for kind, item in network.devices():
            if item["nameservers"]:
                yield (f"{kind} {item['name']!r}: nameservers: value {list(item['nameservers'])}, allowed nothing while {RESOLVED} does not"
                       " run on this host: install systemd-resolved, or leave nameservers out and keep /etc/resolv.conf")
    if network.backend == "ifupdown" and network.devices():
        needed = {"ifupdown"} | ({"ifenslave"} if network.bonds else set()) | ({"bridge-utils"} if network.bridges else set())
        missing = sorted(needed & state.missing)
        if missing:
            yield (f"network_backend: value 'ifupdown', allowed on a host with the packages {', '.join(sorted(needed))}:"
                   f" install {', '.join(missing)}")
    if mtu_peers and network.devices() and "iputils-ping" in state.missing:
        yield (f"network_mtu_peers: value {list(mtu_peers)}, allowed on a host with the package iputils-ping: install it, or leave"
               " them out")


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
            if card and card.master and card.master != bond["name"] and card.master not in gone | handover.names_of(network):
                found.append(f"bond {bond['name']!r}: member {card.name} belongs to {card.master}, which is not of this "
                             "description: list the file that makes it in network_replace, or delete it")
    return found


def _other_owners(network: render.Network, state: State, replace: Sequence[str], removed: Sequence[str]) -> list[str]:
    """Configuration of others that would win over ours, or that would be a second one beside it."""
    links = [live.Link(item["name"], kind, item.get("mac", ""), "", 0, False, False, None, None, ())
             for kind, item in network.devices()]
    links += [card for bond in network.bonds for member in bond["members"] if (card := find_card(member, state.links))]
    names = {link.name for link in links}
    found = _networkd_owners(network, state, links, removed)
    for path, text in sorted(state.files.items()):
        if path.startswith("/etc/network/interfaces") and path != ifupdown.FILE and path not in replace:
            shared = sorted(names & set(ifupdown.stanzas(text)))
            if shared:
                found.append(f"{', '.join(shared)} is configured by ifupdown in {path}: list it in network_replace")
    if network.backend == "ifupdown" and names:
        after = {file.path: file.content for file in handover.wanted_files(network, state, replace)}
        if not ifupdown.sources(after.get(INTERFACES, state.files.get(INTERFACES, ""))):
            found.append(f"{INTERFACES} does not take in {ifupdown.FILE}: give it the line 'source {ifupdown.DIRECTORY}/*', or list it in"
                         " network_replace (that line and lo are left of it then)")
    return found


def _networkd_owners(
    network: render.Network, state: State, links: Sequence[live.Link], removed: Sequence[str]
) -> list[str]:
    """networkd takes the first file that matches: ours must be it, or, where ifupdown has the links, none at all."""
    by_networkd = network.backend == "networkd"
    if not by_networkd and not (state.active or state.enabled):
        return []
    after = {path: text for path, text in state.files.items() if path not in removed}
    after |= {file.path: file.content for file in handover.rendered_files(network, state)}
    found = []
    for link in links:
        path = live.first_match(after, link)
        if path and not (by_networkd and path.startswith(render.PREFIX)):
            where = "which comes before this role's files" if by_networkd else f"and {NETWORKD} is at work"
            cure = "list it in network_replace" if path.startswith(REPLACEABLE) else "remove what writes it (netplan?)"
            found.append(f"{link.name} is configured by {path}, {where}: {cure}")
    return found

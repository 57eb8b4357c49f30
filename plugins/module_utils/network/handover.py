# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whose the interfaces of a host are before a change and after it: this role's by either backend, or somebody else's. Pure."""
from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import ifupdown, live, render
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.ifupdown import INTERFACES
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.state import State, find_card
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import member_identity

_OTHERS = ("/etc/systemd/network/", "/run/systemd/network/")


def names_of(network: render.Network) -> set[str]:
    """The names of all wanted devices."""
    return {item["name"] for _kind, item in network.devices()}


def consented(network: render.Network, replace: Sequence[str]) -> list[str]:
    """What `replace` consents to: where nothing is described nothing is configured twice, so files of others stay."""
    return [path for path in replace if network.devices() or _is_ours(path)]


def _is_ours(path: str) -> bool:
    return path.startswith(render.PREFIX) or path in (render.SYSCTL, render.UDEV, ifupdown.FILE)


def rendered_files(network: render.Network, state: State) -> list[WantedFile]:
    """The files of the network by its backend. ifupdown knows cards by name alone, so what the host calls them goes in."""
    if network.backend == "networkd":
        return render.networkd_files(network)
    members = [member for bond in network.bonds for member in bond["members"]]
    names = {member_identity(member): card.name for member in members if (card := find_card(member, state.links))}
    return ifupdown.ifupdown_files(network, names)


def wanted_files(network: render.Network, state: State, replace: Sequence[str]) -> list[WantedFile]:
    """Files to be there: the rendered ones, and by consent ifupdown's main file without stanzas."""
    files = rendered_files(network, state)
    text = state.files.get(INTERFACES, "")
    by_ifupdown = network.backend == "ifupdown" and bool(network.devices())
    if INTERFACES in replace and (ifupdown.stanzas(text) or (by_ifupdown and not ifupdown.sources(text))):
        files.append(WantedFile(INTERFACES, ifupdown.SOURCING if by_ifupdown else ifupdown.NO_STANZAS))
    return files


def removed_files(network: render.Network, state: State, replace: Sequence[str]) -> list[str]:
    """Files to go: our own of earlier runs and of the other backend, and others by consent."""
    kept = {file.path for file in rendered_files(network, state)}
    ours = {path for path in state.files if _is_ours(path)}
    by_consent = {path for path in replace if path != INTERFACES and path in state.files}
    return sorted((ours | by_consent) - kept)


def own_stanzas(state: State) -> list[str]:
    """The interfaces that our own file of ifupdown has."""
    return list(ifupdown.stanzas(state.files.get(ifupdown.FILE, "")))


def given_up(state: State, replace: Sequence[str]) -> dict[str, set[str]]:
    """The interfaces, with their methods, of files of ifupdown that are not ours and go by consent."""
    names: dict[str, set[str]] = {}
    for path in sorted(state.files):
        if path in replace and path.startswith("/etc/network/") and path != ifupdown.FILE:
            for name, methods in ifupdown.stanzas(state.files[path]).items():
                names.setdefault(name, set()).update(methods)
    return names


def kept_bridge(network: render.Network, state: State, name: str) -> bool:
    """Whether a bridge stays as it is although ifupdown gives it up: it is wanted, and guests are on it."""
    link = state.links.get(name)
    wanted = name in {bridge["name"] for bridge in network.bridges}
    return wanted and link is not None and link.kind == "bridge" and bool(guests_on(state, name))


def guests_on(state: State, name: str) -> list[str]:
    """The ports of a bridge that are guests' interfaces."""
    return sorted(link.name for link in state.links.values() if link.master == name and link.is_guest_port)


def taken_down(network: render.Network, state: State, replace: Sequence[str]) -> list[str]:
    """What ifupdown takes down itself, by its old files (a DHCP client may belong to it); what is carried goes first."""
    names = [name for name in given_up(state, replace) if not kept_bridge(network, state, name)]
    return sorted(names, key=lambda name: top_first(state.links[name].kind if name in state.links else ""))


def stale_devices(network: render.Network, state: State, removed: Sequence[str]) -> list[str]:
    """Devices of this role (and of networkd's files that go) that are not wanted any more; what is carried goes first."""
    made = {live.netdev_name(state.files[path]) or "" for path in removed if path.endswith(".netdev")} | set(own_stanzas(state))
    stale = [state.links[name] for name in made if name in state.links and name not in names_of(network)]
    return [link.name for link in sorted(stale, key=lambda link: (top_first(link.kind), link.name)) if link.kind]


def top_first(kind: str) -> int:
    """Sorts devices so that what is carried comes before what carries it."""
    return {"bridge": 0, "vlan": 1, "bond": 2}.get(kind, 3)


def changes_hands(network: render.Network, state: State, replace: Sequence[str], name: str) -> bool:
    """Whether a device that exists was made by somebody other than this role's backend, so that its makers cannot be told."""
    if name in given_up(state, replace):
        return True
    return (name in own_stanzas(state)) == (network.backend == "networkd")


def networkd_needed(state: State, removed: Sequence[str]) -> bool:
    """Whether networkd has anything to do on this host when these files are gone."""
    return any(path.startswith(_OTHERS) and path not in removed for path in state.files)

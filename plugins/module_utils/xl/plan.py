# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From wanted guests and a host's state to the steps between them: one pure function."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, differing
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import compare
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.host import LINK, HostState, needs_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import DOM0, INCOMING, LEFT
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl_cfg import render

Guest = Mapping[str, Any]

_CFG_MODE = 0o640
_START_OF_THE_REST = 100


@dataclass(frozen=True)
class Places:
    """Where configurations and autostart links lie, and whether links are kept at all."""

    config_dir: str
    autostart_dir: str
    autostart: bool = True

    def config(self, name: str) -> str:
        return f"{self.config_dir}/{name}.cfg"


@dataclass(frozen=True)
class Others:
    """What is known of the other hosts: guest -> (host, state) of what they have, and the hosts that were not asked."""

    guests: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    unasked: tuple[str, ...] = ()

    @classmethod
    def of(cls, elsewhere: Mapping[str, Mapping[str, str]], unasked: Iterable[str]) -> Others:
        """From host -> {guest: state}, as xl_guest_info gives it."""
        return cls({guest: (host, state) for host in sorted(elsewhere, reverse=True) for guest, state in elsewhere[host].items()},
                   tuple(sorted(unasked)))

    def against(self, name: str) -> str | None:
        """Why a guest that does not run here must not be started here, if anything speaks against it."""
        if name in self.guests:
            host, state = self.guests[name]
            what = f"starts with the host {host}" if state == "autostart" else f"is {state} on {host}"
            return f"guest {name!r}: it {what}; it is never started a second time"
        if self.unasked:
            return (f"guest {name!r}: {', '.join(self.unasked)} could not be asked whether it runs there; it is started only when "
                    "every host has answered")
        return None


@dataclass
class Steps:
    """What is to be done, in this order, and what is told instead of done."""

    files: list[WantedFile] = field(default_factory=list)
    unlink: list[str] = field(default_factory=list)
    link: dict[str, str] = field(default_factory=dict)
    live: list[compare.LiveChange] = field(default_factory=list)
    clear: dict[str, int] = field(default_factory=dict)
    start: list[str] = field(default_factory=list)
    pending: list[compare.Pending] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)
    not_yet: list[str] = field(default_factory=list)
    unmanaged: list[str] = field(default_factory=list)

    def actions(self) -> list[Action]:
        return [
            *(Action("write", f"file {file.path}") for file in self.files),
            *(Action("remove", f"link {path}") for path in self.unlink),
            *(Action("link", path, f"to {target}") for path, target in self.link.items()),
            *(change.action for change in self.live),
            *(Action("destroy", f"domain {domid}", f"of guest {name}: its creation was cut off, it never ran")
              for name, domid in self.clear.items()),
            *(Action("start", f"guest {name}") for name in self.start),
        ]


def order(guests: Sequence[Guest]) -> list[Guest]:
    """Guests as they start: by their autostart number, those without one last, else as listed."""
    return sorted(guests, key=lambda guest: guest["autostart"] or _START_OF_THE_REST)


def steps(guests: Sequence[Guest], host: HostState, places: Places, others: Others | None = None) -> Steps:
    """The steps for a host. guests: normalised, all that are defined here. Obstacles forbid every step."""
    found = Steps()
    wanted = {guest["name"] for guest in guests}
    files = [WantedFile(places.config(guest["name"]), render(guest), _CFG_MODE) for guest in guests]
    found.files = differing(files, host.texts)
    for guest in guests:
        _links(guest, host, places, found)
    found.clear = dict(sorted(host.unfinished.items()))
    for guest in order(guests):
        _run(guest, host, places, found)
    told = [(others or Others()).against(guest["name"]) for guest in guests if guest["name"] not in host.domains]
    found.obstacles += [line for line in told if line]
    found.unmanaged = sorted(set(host.domains) - wanted - {DOM0})
    return found


def _links(guest: Guest, host: HostState, places: Places, found: Steps) -> None:
    """Exactly one link, of the right name and target, when the guest starts with the host; none otherwise."""
    name, config = guest["name"], places.config(guest["name"])
    right = f"{guest['autostart']:02d}-{name}" if places.autostart and guest["autostart"] else None
    for link, target in sorted(host.links.items()):
        if _belongs(link, target, name, config) and not (link == right and target == config):
            found.unlink.append(f"{places.autostart_dir}/{link}")
    if right and host.links.get(right) != config:
        found.link[f"{places.autostart_dir}/{right}"] = config
    for entry in host.entries:
        match = LINK.fullmatch(entry)
        if entry == right or (match and match[1] == name):
            found.obstacles.append(
                f"guest {name!r}: {places.autostart_dir}/{entry} is no link, it would start the guest by another "
                "configuration; remove the file"
            )


def _belongs(link: str, target: str, name: str, config: str) -> bool:
    match = LINK.fullmatch(link)
    return target == config or (match is not None and match[1] == name)


def _run(guest: Guest, host: HostState, places: Places, found: Steps) -> None:
    name, domain = guest["name"], host.domains.get(guest["name"])
    if domain is None:
        if guest["state"] == "running":
            _start(guest, host, found)
        return
    if guest["state"] == "defined":
        found.pending.append(compare.Pending(name, "state", domain.state, "defined", f"a stop: xl shutdown -w {name}"))
        return
    config = host.configs.get(name)
    if config is None:
        found.pending.append(compare.Pending(
            name, "configuration", None, "known to xl", "a stop and a new start of the guest: xl list -l does not show it"))
        return
    running_uuid = str(config.get("c_info", {}).get("uuid", "")).lower()
    if running_uuid != guest["uuid"]:
        found.obstacles.append(
            f"guest {name!r}: its name is taken by a guest with uuid {running_uuid or 'unknown'} (domain {domain.domid}), "
            f"wanted {guest['uuid']}; stop that guest, or take it over by 'uuid: {running_uuid}' in the definition"
        )
        return
    if domain.state != "running":
        way_out = f"xl unpause {name}" if domain.state == "paused" else f"xl destroy {name}, then another run"
        found.pending.append(compare.Pending(name, "state", domain.state, "running", f"a decision: {way_out}"))
        return
    found.live += compare.live_changes(guest, config)
    found.pending += compare.pending(guest, config, host.texts.get(places.config(name)))
    if domain.vcpus != guest["vcpus"] == compare.sizes(config)["vcpus"]:
        found.pending.append(compare.Pending(
            name, "vcpus", domain.vcpus, guest["vcpus"], "the guest's own system, which has to switch its CPUs on or off"))


def _start(guest: Guest, host: HostState, found: Steps) -> None:
    name = guest["name"]
    for suffix, words in ((INCOMING, "is on its way to this host"), (LEFT, "has just left this host")):
        other = host.domains.get(name + suffix)
        if other is not None:
            found.obstacles.append(
                f"guest {name!r}: {words} (domain {other.domid}, {other.name}); wait for the move to end, or clear it up"
            )
            return
    lacking = [need for need in needs_of(guest) if need in host.missing]
    if lacking:
        found.not_yet.append(f"guest {name!r} cannot start: there is no {', no '.join(lacking)}")
    found.start.append(name)

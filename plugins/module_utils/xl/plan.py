# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From wanted guests and a host's state to the steps between them: one pure function."""
from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, differing
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing.memory import DEFAULT_GRANT_FRAMES, footprint_mib
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import before, compare, cpus, devices
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.changes import DETACH, Consents, LiveChange, Pending, Renewal
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.host import LINK, HostState, needs_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import DOM0, INCOMING, LEFT
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl_cfg import render

Guest = Mapping[str, Any]

CFG_MODE = 0o640
_START_OF_THE_REST = 100
_ANOTHER_RUN = "another run"


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
        there = [(guest, host, state) for host in sorted(elsewhere, reverse=True) for guest, state in elsewhere[host].items()]
        # Where it is counts more than where it starts.
        there.sort(key=lambda entry: entry[2] != "autostart")
        return cls({guest: (host, state) for guest, host, state in there}, tuple(sorted(unasked)))

    def moving(self, name: str) -> str | None:
        """Where a guest that runs here is as well, if anywhere: it moves, or a move of it has left something there."""
        host, state = self.guests.get(name, ("", "autostart"))
        return None if state == "autostart" else f"{state} on {host}"

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
    """What is to be done, in this order, and what is told instead of done. late: those of `start` that a driver domain of `renew` serves,
    which start after it."""

    files: list[WantedFile] = field(default_factory=list)
    unlink: list[str] = field(default_factory=list)
    link: dict[str, str] = field(default_factory=dict)
    withdraw: dict[str, str] = field(default_factory=dict)
    live: list[LiveChange] = field(default_factory=list)
    clear: dict[str, int] = field(default_factory=dict)
    start: list[str] = field(default_factory=list)
    renew: list[Renewal] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)
    not_yet: list[str] = field(default_factory=list)
    unmanaged: list[str] = field(default_factory=list)

    def actions(self) -> list[Action]:
        return [
            *(Action("write", f"file {file.path}") for file in self.files),
            *(Action("remove", f"link {path}") for path in self.unlink),
            *(Action("link", path, f"to {target}") for path, target in self.link.items()),
            *(Action("withdraw", f"guest {name}", "of a configuration for its next reboot, which is no more the stored one")
              for name in self.withdraw),
            *(change.action for change in self.live),
            *(Action("destroy", f"domain {domid}", f"of guest {name}: its creation was cut off, it never ran")
              for name, domid in self.clear.items()),
            *(Action("start", f"guest {name}") for name in self.start if name not in self.late),
            *(renewal.action() for renewal in self.renew),
            *(Action("start", f"guest {name}") for name in self.late),
        ]


def order(guests: Sequence[Guest]) -> list[Guest]:
    """Guests as they start: driver domains first, then by their autostart number, those without one last, else as listed."""
    return sorted(guests, key=lambda guest: (not guest["driver_domain"], guest["autostart"] or _START_OF_THE_REST))


def steps(
    guests: Sequence[Guest], host: HostState, places: Places, others: Others | None = None, consents: Consents | None = None
) -> Steps:
    """The steps for a host. guests: normalised, all that are defined here. Obstacles forbid every step."""
    found = Steps()
    wanted = {guest["name"] for guest in guests}
    files = [WantedFile(places.config(guest["name"]), render(guest), CFG_MODE) for guest in guests]
    found.files = differing(files, host.texts)
    for guest in guests:
        _links(guest, host, places, found)
    uses = devices.Uses.of(host.configs, _names(host))
    found.clear = dict(sorted(host.unfinished.items()))
    for guest in order(guests):
        _cpus(guest, host, found)
        _run(guest, host, places, found, uses, others or Others(), consents or Consents())
    renewed = {renewal.guest for renewal in found.renew}
    found.late = [guest["name"] for guest in order(guests) if guest["name"] in found.start
                  and any(device["backend"] in renewed for device in (*guest["disks"], *guest["networks"]))]
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


def _cpus(guest: Guest, host: HostState, found: Steps) -> None:
    """xl starts a guest on CPUs that are not there on all of them, and holds a running one to none."""
    nodes, schedulers = host.placing.nodes, host.placing.schedulers
    problem = cpus.problem(guest["cpus"], nodes) if guest["cpus"] and nodes else None
    if problem:
        found.obstacles.append(f"guest {guest['name']!r}: {problem}")
    if guest["cpu_pool"] and schedulers and guest["cpu_pool"] not in schedulers:
        found.obstacles.append(f"guest {guest['name']!r}: cpu_pool: value {guest['cpu_pool']!r}, allowed a CPU pool of the host: "
                               f"{', '.join(sorted(schedulers))}")


def _run(guest: Guest, host: HostState, places: Places, found: Steps, uses: devices.Uses, others: Others, consents: Consents) -> None:
    name, domain = guest["name"], host.domains.get(guest["name"])
    if domain is None:
        if guest["state"] == "running":
            _start(guest, host, found, uses)
        return
    if guest["state"] == "defined":
        found.pending.append(Pending(name, "state", domain.state, "defined", f"a stop: xl shutdown -w {name}"))
        return
    config = host.configs.get(name)
    if config is None:
        found.pending.append(Pending(
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
        found.pending.append(Pending(name, "state", domain.state, "running", f"a decision: {way_out}"))
        return
    moving = others.moving(name)
    if moving:
        needs = "the end of its move; until then it is left as it is"
        found.pending.append(Pending(name, "host", f"here and {moving}", "here alone", needs))
        return
    names = _names(host)
    difference = devices.difference(guest, config, names, consents.given(DETACH, name), uses)
    waiting = [*compare.pending(guest, config, host.texts.get(places.config(name))), *difference.pending]
    clients = uses.clients.get(name, [])
    waiting = compare.by_clients(compare.by_events(waiting, config), clients)
    renewal = consents.renewal(name, waiting, () if clients else compare.ways_of(config))
    if renewal and not _taken(guest, uses):
        renewal = dataclasses.replace(renewal, before=before.text_of(guest, config, names))
        found.renew.append(renewal)
        found.pending += [entry for entry in waiting if not entry.by]
        _needs(f"guest {name!r} cannot start anew", needs_of(guest), host, found)
        return
    path, ordered = host.ordered.get(name, ("", ""))
    if path and ordered != render(guest):
        found.withdraw[name] = path
    found.live += compare.live_changes(guest, config, host.placing) + difference.changes
    found.pending += waiting
    _needs(f"guest {name!r} cannot have its devices", difference.needs, host, found)
    if domain.vcpus != guest["vcpus"] == compare.sizes(config)["vcpus"]:
        found.pending.append(Pending(
            name, "vcpus", domain.vcpus, guest["vcpus"], "the guest's own system, which has to switch its CPUs on or off"))


def _taken(guest: Guest, uses: devices.Uses) -> tuple[str, str] | None:
    """Who has a disk that the guest needs to start, and which of its disks that is."""
    return next(((holder, disk["vdev"]) for disk in guest["disks"] if (holder := uses.holder(guest["name"], disk))), None)


def _names(host: HostState) -> dict[int, str]:
    return {domain.domid: domain.name for domain in host.domains.values()}


def _needs(what: str, needs: Iterable[str], host: HostState, found: Steps) -> None:
    """Tell what is not on the host. A domain may be one that starts before."""
    there = {f"domain {name}" for name in (*host.domains, *found.start)}
    lacking = [need for need in needs if need in host.missing or (need.startswith("domain ") and need not in there)]
    if lacking:
        found.not_yet.append(f"{what}: there is no {', no '.join(lacking)}")


def _footprint_mib(guest: Guest) -> int:
    return footprint_mib(guest["memory_mib"], guest["maxmem_mib"], guest["maxvcpus"], guest["type"],
                         guest["max_grant_frames"] or DEFAULT_GRANT_FRAMES, shim=bool(guest["pvshim"]))


def short_of_memory(found: Steps, guests: Iterable[Guest], host: HostState, free_mib: int) -> list[str]:
    """Guests that would be stopped and then find no memory, one line each. free_mib: of the host, before guests are started."""
    if not found.renew:
        return []
    by_name = {guest["name"]: guest for guest in guests}
    left = free_mib - sum(_footprint_mib(by_name[name]) for name in found.start)
    lines = []
    for renewal in found.renew:
        guest, domain, now = by_name[renewal.guest], host.domains[renewal.guest], compare.sizes(host.configs[renewal.guest])
        running = {**guest, "memory_mib": domain.memory_mib, "maxvcpus": now["maxvcpus"],
                   "maxmem_mib": max(now["maxmem_mib"], domain.memory_mib)}
        more = _footprint_mib(guest) - _footprint_mib(running)
        if more > max(left, 0):
            lines.append(f"guest {renewal.guest!r}: needs {more} MiB more to start anew and the host has {max(left, 0)} MiB free; it would "
                         "be stopped and not start again")
        left -= more
    return lines


def settle(done: Steps, left: Steps) -> tuple[list[Pending], list[str]]:
    """What the host tells after the steps: what is pending now, and changes that xl was told and that do not show.

    left: the steps that it would take from here without consents to reboot. Sizes are followed by themselves, the guest takes its time.
    """
    told = {(change.guest, change.key, change.device) for change in done.live}
    still = [change for change in left.live if (change.guest, change.key, change.device) in told]
    kept = {(change.guest, change.key) for change in still if change.detaches}
    held = [Pending(change.guest, change.key, f"{change.device} ({change.action.detail})", None,
                    "that the guest lets go of it, which it did not when it was asked", DETACH) for change in still if change.detaches]
    failed = [f"guest {change.guest!r}: {change.action.line()}: xl was told ({' '.join(change.argv)}) and it is not so"
              for change in still if change.key not in ("memory_mib", "vcpus") and (change.guest, change.key) not in kept]
    # What another guest has given up just now, and what somebody else changed meanwhile.
    come = [Pending(change.guest, change.key, None, change.action.line(), _ANOTHER_RUN) for change in left.live
            if (change.guest, change.key, change.device) not in told]
    come += [Pending(name, "state", "absent", "running", _ANOTHER_RUN) for name in left.start if name not in done.start]
    return left.pending + held + come, failed


def _start(guest: Guest, host: HostState, found: Steps, uses: devices.Uses) -> None:
    name = guest["name"]
    for suffix, words in ((INCOMING, "is on its way to this host"), (LEFT, "has just left this host")):
        other = host.domains.get(name + suffix)
        if other is not None:
            found.obstacles.append(
                f"guest {name!r}: {words} (domain {other.domid}, {other.name}); wait for the move to end, or clear it up"
            )
            return
    taken = _taken(guest, uses)
    if taken:
        found.pending.append(Pending(name, "state", "absent", "running", devices.needs_of_holder(*taken)))
        return
    _needs(f"guest {name!r} cannot start", needs_of(guest), host, found)
    found.start.append(name)

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the wanted limits of a host's guests and what holds there to the steps between the two: one pure function.

wanted: guest -> {"disks": {vdev: {key: value}}, "networks": {mac: {"bridge": name, key: value}}}, of every guest that is defined on the
host, also of those without limits; what is set of a guest that is not among them is left alone, but for what is marked as ours.
Carried to the hosts as it stands.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import kernel

Wanted = Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]

CGROUPS = "/sys/fs/cgroup"
OURS = f"{CGROUPS}/xenfold"
PREFIX = "guest-"
"""A guest may be called like a file of cgroupfs, so its group is not."""
USABLE_PERCENT, MOST_PERCENT = 95, 90
"""Of an uplink's speed: what its classes share, as a frame is longer on the wire than tc counts; and what all minima may take together,
so that the host itself is heard."""

NETWORK_KEYS = ("rate_mbps", "receive_mbps", "min_mbps")
_REST, _FIRST = 2, 16
_BITS_TO_BYTES = 125_000
_SUBTREE = "cgroup.subtree_control"


@dataclass(frozen=True)
class Write:
    """Write a text to a file of the kernel's."""

    path: str
    text: str


@dataclass(frozen=True)
class Make:
    """Make a cgroup, where there is none."""

    path: str


@dataclass(frozen=True)
class Remove:
    """Remove an empty cgroup."""

    path: str


@dataclass(frozen=True)
class Run:
    """Run a command; data: its input."""

    argv: tuple[str, ...]
    data: str | None = None


Deed = Write | Make | Remove | Run


@dataclass(frozen=True)
class Step:
    """One limit that differs: verb (`limit`, `lift`, `share`), target and detail for a person, and what mends it.

    No deeds: what it needs is not there yet.
    """

    verb: str
    target: str
    detail: str
    deeds: tuple[Deed, ...] = ()

    def line(self) -> str:
        return f"{self.verb} {self.target}: {self.detail}"


@dataclass
class Plan:
    """steps: what differs; problems: minimum shares that cannot be held; notes: those that cannot be held for now."""

    steps: list[Step] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan(wanted: Wanted, actual: kernel.Actual) -> Plan:
    """The steps for a host, sorted by guest and device."""
    found = Plan()
    for guest in sorted({*wanted, *actual.groups}):
        _disks(guest, wanted.get(guest, {}).get("disks", {}), actual, found)
    shaped: set[str] = set()
    for vif in sorted(actual.vifs, key=lambda vif: (vif.guest, vif.mac)):
        network = wanted.get(vif.guest, {}).get("networks", {}).get(vif.mac)
        if network is not None:
            _rate(vif, network.get("rate_mbps"), found)
            if network.get("receive_mbps"):
                shaped.add(vif.device)
                _receive(vif, network["receive_mbps"], actual.qdiscs.get(vif.device), found)
    shaped |= _shares(wanted, actual, found)
    for device, qdisc in sorted(actual.qdiscs.items()):
        if qdisc.handle == kernel.HANDLE and device not in shaped:
            found.steps.append(Step("lift", f"device {device}", f"{qdisc.kind} of limits that are gone",
                                    (Run(("tc", "qdisc", "del", "dev", device, "root")),)))
    return found


def _disks(guest: str, limits: Mapping[str, Mapping[str, int]], actual: kernel.Actual, found: Plan) -> None:
    path, group = f"{OURS}/{PREFIX}{guest}", actual.groups.get(guest)
    limited = {(disk.domid, disk.vdev): disk for disk in actual.disks if disk.guest == guest and disk.vdev in limits}
    if group is not None and not limits:
        found.steps.append(Step("lift", f"disks of guest {guest}", "no limits", (*_let_go(group.pids), Remove(path))))
        return
    has = group or kernel.Group()
    numbers = _by_number(limited.values(), limits)
    first: tuple[Deed, ...] = () if actual.io and group else (
        Write(f"{CGROUPS}/{_SUBTREE}", "+io"), Make(OURS), Write(f"{OURS}/{_SUBTREE}", "+io"), Make(path))
    for (domid, vdev), disk in sorted(limited.items()):
        keys, now = numbers[disk.number], has.limits.get(disk.number, {})
        threads = sorted(pid for pid, whose in actual.threads.items() if whose == (domid, vdev) and pid not in has.pids)
        details = [f"{_told(now) or 'no limit'} -> {_told(keys)}"] if keys != now else []
        details += [f"threads {', '.join(map(str, threads))} without limit"] if threads else []
        if details:
            deeds = (*first, Write(f"{path}/io.max", io_line(disk.number, keys)),
                     *(Write(f"{path}/cgroup.procs", str(pid)) for pid in threads))
            found.steps.append(Step("limit", f"disk {vdev} of guest {guest}", ", ".join(details), deeds))
    # A number without a disk belongs to one that is away for a moment, as during a reboot of the guest.
    there = {disk.number for disk in actual.disks if disk.guest == guest}
    for number in sorted((set(has.limits) & there) - set(numbers)):
        found.steps.append(Step("lift", f"device {number} of guest {guest}", _told(has.limits[number]),
                                (Write(f"{path}/io.max", io_line(number, {})),)))
    strangers = sorted(pid for pid in has.pids if pid in actual.threads and actual.threads[pid] not in limited)
    if strangers:
        found.steps.append(Step("lift", f"threads of guest {guest}", ", ".join(map(str, strangers)), _let_go(strangers)))


def _by_number(disks: Iterable[kernel.Disk], limits: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Device number -> keys of io.max. A device that a guest has twice gets the lower of its limits."""
    found: dict[str, dict[str, int]] = {}
    for disk in disks:
        keys = found.setdefault(disk.number, {})
        for key, value in limits[disk.vdev].items():
            name, unit = kernel.DISK_KEYS[key]
            keys[name] = min(keys.get(name, value * unit), value * unit)
    return found


def io_line(number: str, keys: Mapping[str, int]) -> str:
    """A line for io.max. Every key is named: one that is not would keep its value."""
    return f"{number} " + " ".join(f"{name}={keys.get(name, 'max')}" for name, _unit in kernel.DISK_KEYS.values())


def _told(keys: Mapping[str, int]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(keys.items()))


def _let_go(pids: Iterable[int]) -> tuple[Deed, ...]:
    return tuple(Write(f"{CGROUPS}/cgroup.procs", str(pid)) for pid in sorted(pids))


def rate_text(rate_mbps: int, queues: int) -> str:
    """The node `rate` of a card. netback gives every queue the whole credit (drivers/net/xen-netback), so it is divided among them."""
    return f"{rate_mbps * _BITS_TO_BYTES * kernel.RATE_USECS // 10**6 // queues},{kernel.RATE_USECS}"


def _rate(vif: kernel.Vif, rate_mbps: int | None, found: Plan) -> None:
    target = f"network {vif.mac} of guest {vif.guest}"
    if rate_mbps is None:
        if vif.rate is not None:
            found.steps.append(Step("lift", target, f"rate {vif.rate}", (Run(("xenstore-rm", f"{vif.path}/rate")),)))
        return
    text = rate_text(rate_mbps, vif.queues)
    if vif.rate != text:
        found.steps.append(Step("limit", target, f"rate {vif.rate or 'no limit'} -> {text} for each of {vif.queues} queues",
                                (Run(("xenstore-write", f"{vif.path}/rate", text)),)))


def _receive(vif: kernel.Vif, receive_mbps: int, qdisc: kernel.Qdisc | None, found: Plan) -> None:
    wanted = kernel.Qdisc("tbf", kernel.HANDLE, receive_mbps * _BITS_TO_BYTES)
    if qdisc == wanted:
        return
    now = f"{qdisc.rate_bytes // _BITS_TO_BYTES} Mbit/s" if qdisc and qdisc.rate_bytes else "no limit"
    # Two of the largest packets that netback takes in one piece, or what comes in a hundredth of a second.
    burst = max(2 * 65536, receive_mbps * _BITS_TO_BYTES // 100)
    argv = ("tc", "qdisc", "replace", "dev", vif.device, "root", "handle", kernel.HANDLE, "tbf", "rate", f"{receive_mbps}mbit",
            "burst", f"{burst}b", "latency", "50ms")
    found.steps.append(Step("limit", f"network {vif.mac} of guest {vif.guest}", f"receive {now} -> {receive_mbps} Mbit/s", (Run(argv),)))


def minima(wanted: Wanted) -> dict[str, list[tuple[str, str, int]]]:
    """Bridge -> (guest, mac, Mbit/s) of its minimum shares, sorted."""
    found: dict[str, list[tuple[str, str, int]]] = {}
    for guest, parts in sorted(wanted.items()):
        for mac, network in sorted(parts.get("networks", {}).items()):
            if network.get("min_mbps"):
                found.setdefault(network["bridge"], []).append((guest, mac, network["min_mbps"]))
    return found


def _shares(wanted: Wanted, actual: kernel.Actual, found: Plan) -> set[str]:
    """Steps for the uplinks of all bridges with minimum shares; the devices on which such shares are to be held."""
    by_device: dict[str, dict[str, list[tuple[str, str, int]]]] = {}
    uplinks: dict[str, kernel.Uplink] = {}
    for bridge, shares in minima(wanted).items():
        if bridge not in actual.bridges:
            found.steps.append(_share(bridge, shares))
            continue
        ports = actual.bridges[bridge]
        if len(ports) != 1:
            there = ", ".join(port.device for port in ports) or "none"
            found.problems.append(f"{_who(shares)}: min_mbps: bridge {bridge} has the ports {there} to the outside, allowed exactly one")
            continue
        uplinks[ports[0].device] = ports[0]
        by_device.setdefault(ports[0].device, {})[bridge] = shares
    for device, bridges in sorted(by_device.items()):
        uplink, shares = uplinks[device], sorted(share for listed in bridges.values() for share in listed)
        qdisc = actual.qdiscs.get(device)
        if qdisc and qdisc.handle not in ("0:", kernel.HANDLE):
            found.problems.append(
                f"{_who(shares)}: min_mbps: {device} has a {qdisc.kind} of somebody else's (handle {qdisc.handle}), allowed none: "
                f"tc qdisc del dev {device} root")
            continue
        problem = _problem(uplink, shares)
        if problem:
            # What a bond with all its links can hold is held as far as it goes while some of them are gone.
            (found.notes if uplink.degraded else found.problems).append(problem)
        if uplink.speed_mbps and (uplink.degraded or not problem) and actual.trees.get(device) != wanted_tree(uplink.speed_mbps, shares):
            batch = _batch(device, wanted_tree(uplink.speed_mbps, shares), qdisc is not None and qdisc.handle == kernel.HANDLE)
            # One change of the device serves all its bridges; each is told.
            found.steps += [_share(bridge, listed, (Run(("tc", "-batch", "-"), batch),) if number == 0 else ())
                            for number, (bridge, listed) in enumerate(sorted(bridges.items()))]
    return set(by_device)


def _share(bridge: str, shares: Iterable[tuple[str, str, int]], deeds: tuple[Deed, ...] = ()) -> Step:
    return Step("share", f"uplink of bridge {bridge}", ", ".join(f"{guest} {least} Mbit/s" for guest, _mac, least in shares), deeds)


def _who(shares: Iterable[tuple[str, str, int]]) -> str:
    names = sorted({guest for guest, _mac, _least in shares})
    return f"guest{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"


def _problem(uplink: kernel.Uplink, shares: list[tuple[str, str, int]]) -> str | None:
    if uplink.speed_mbps is None:
        return f"{_who(shares)}: min_mbps: {uplink.device} tells no speed, allowed an uplink that has a link and knows its speed"
    total, most = sum(least for _guest, _mac, least in shares), uplink.speed_mbps * MOST_PERCENT // 100
    if total > most:
        each = ", ".join(f"{guest} {least}" for guest, _mac, least in shares)
        return (f"{_who(shares)}: min_mbps: {total} Mbit/s together ({each}), allowed {most} Mbit/s, {MOST_PERCENT} % of the "
                f"{uplink.speed_mbps} Mbit/s of {uplink.device}")
    return None


def wanted_tree(speed_mbps: int, shares: list[tuple[str, str, int]]) -> kernel.Tree:
    """One class above all, one for everybody else, one for each card; each may use the whole while others do not need it."""
    usable = max(1, speed_mbps * USABLE_PERCENT // 100)
    rest = max(1, usable - sum(least for _guest, _mac, least in shares))
    classes = {1: (usable, usable), _REST: (min(rest, usable), usable)}
    numbers = {mac: number for number, (_guest, mac, _least) in enumerate(shares, _FIRST)}
    classes |= {numbers[mac]: (least, max(least, usable)) for _guest, mac, least in shares}
    return kernel.Tree(classes, numbers)


def _batch(device: str, tree: kernel.Tree, replace: bool) -> str:
    """The input of `tc -batch` that builds a tree on a device, in place of an earlier one of ours."""
    handle = kernel.HANDLE
    lines = [f"qdisc del dev {device} root"] if replace else []
    lines.append(f"qdisc add dev {device} root handle {handle} htb default {_REST:x}")
    for number, (least, most) in sorted(tree.classes.items()):
        parent = handle if number == 1 else f"{handle}1"
        # A burst of one large packet, or of two thousandths of a second; what is left over is shared alike.
        bursts = [max(65536, mbps * _BITS_TO_BYTES // 500) for mbps in (least, most)]
        lines.append(f"class add dev {device} parent {parent} classid {handle}{number:x} htb rate {least}mbit ceil {most}mbit "
                     f"burst {bursts[0]}b cburst {bursts[1]}b quantum 60000")
    # By the guest's address, which is the same wherever and however often it connects.
    lines += [f"filter add dev {device} parent {handle} protocol all pref 1 flower src_mac {mac} classid {handle}{number:x}"
              for mac, number in sorted(tree.macs.items())]
    return "".join(f"{line}\n" for line in lines)


def told(wanted: Wanted, actual: kernel.Actual) -> dict[str, dict[str, dict[str, dict[str, int]]]]:
    """The limits that hold now, read from the kernel, in the words of the definitions: of connected devices of the wanted guests."""
    found: dict[str, dict[str, dict[str, dict[str, int]]]] = {}

    def note(guest: str, kind: str, name: str, key: str, value: int) -> None:
        found.setdefault(guest, {"disks": {}, "networks": {}})[kind].setdefault(name, {})[key] = value

    for disk in actual.disks:
        group = actual.groups.get(disk.guest, kernel.Group())
        threads = {pid for pid, whose in actual.threads.items() if whose == (disk.domid, disk.vdev)}
        limits = group.limits.get(disk.number, {}) if threads and threads <= group.pids else {}
        for key, (name, unit) in kernel.DISK_KEYS.items():
            if disk.guest in wanted and name in limits:
                note(disk.guest, "disks", disk.vdev, key, limits[name] // unit)
    for vif in actual.vifs:
        if vif.guest not in wanted:
            continue
        qdisc = actual.qdiscs.get(vif.device)
        sent, _comma, usecs = (vif.rate or "").partition(",")
        if sent.isdigit() and usecs.isdigit() and int(usecs):
            note(vif.guest, "networks", vif.mac, "rate_mbps", round(int(sent) * vif.queues * 8 / int(usecs)))
        if qdisc and qdisc.rate_bytes:
            note(vif.guest, "networks", vif.mac, "receive_mbps", qdisc.rate_bytes // _BITS_TO_BYTES)
        for tree in actual.trees.values():
            if tree.macs.get(vif.mac) in tree.classes:
                note(vif.guest, "networks", vif.mac, "min_mbps", tree.classes[tree.macs[vif.mac]][0])
    return found

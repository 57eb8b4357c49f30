# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guard of a network change: the old network comes back by itself unless somebody confirms the new one.

The guard lives on the host alone: a timer and a shell script that holds all it needs. Its state is the name of one file,
and every step renames that file, so that of two that want to act (the timer, the controller) exactly one does:

    armed -> restoring -> restored      the old network is back
    armed -> confirmed                  the new network stays

What the scripts do is a function of the change and of the state before it.
"""
from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Sequence

from ansible_collections.xenfold.consolidation.plugins.module_utils.network import ifupdown, plan, render
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.live import Link
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.state import NETWORKD, NETWORKING, State
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import gateways_of

DIRECTORY = "/var/lib/xenfold/network"
STEPS = ("armed", "restoring", "restored", "confirmed")
UNIT = "xenfold-network-guard"
APPLY_UNIT = "xenfold-network-apply"
RESTORE_UNIT = "xenfold-network-restore"
BOOT_UNIT = "/etc/systemd/system/xenfold-network-boot.service"
BOOT_LINK = "/etc/systemd/system/multi-user.target.wants/xenfold-network-boot.service"
# Time for the module's answer to travel before the network goes away beneath it.
APPLY_AFTER_SECONDS = 3
# Below DIRECTORY: new files that wait for their moment.
STAGED = "/new"

_HEAD = """#!/bin/sh
# Written by xenfold.consolidation for one change of the network.
set -u
joined() { test "$(basename "$(readlink "/sys/class/net/$1/master")")" = "$2"; }
"""


def boot_unit(directory: str = DIRECTORY) -> str:
    """A unit for the case that the host restarts before the change is confirmed: the timer is gone then."""
    return f"""[Unit]
Description=Put back the network that an unconfirmed change replaced
DefaultDependencies=no
ConditionPathExists=|{directory}/armed
ConditionPathExists=|{directory}/restoring
RequiresMountsFor={directory}
After=systemd-remount-fs.service
Before=network-pre.target systemd-networkd.service networking.service
Wants=network-pre.target

[Service]
Type=oneshot
ExecStart=/bin/sh {directory}/restore boot
"""


def apply_script(change: plan.Change, network: render.Network, directory: str = DIRECTORY, root: str = "") -> str:
    """The change itself, after the new files of networkd are written. A bridge is never deleted while it keeps its name and guests
    are on it. root: what stands before every path (for tests)."""
    lines = [_HEAD]
    if change.take_down:
        # By the old files, while they are there; of several names one that fails does not keep the others up.
        lines.append(f"ifdown --force {_words(change.take_down)}\n")
    lines += [f"install -D -m 644 {_q(directory + STAGED + file.path)} {_q(root + file.path)}\n"
              for file in change.write if staged(file.path)]
    lines += [f"rm -f {_q(root + path)}\n" for path in change.remove]
    if change.idle:
        lines.append(f"systemctl stop {NETWORKD.replace('.service', '.socket')} {NETWORKD}\n")
    elif network.backend == "ifupdown" and any(path.startswith(f"{render.DIRECTORY}/") for path in change.remove):
        lines.append(f"systemctl restart {NETWORKD}\n")
    lines += [f"ip link delete dev {_q(name)}\n" for name in change.delete + change.rebuild]
    lines += [f"ip link set dev {_q(name)} nomaster\n" for name in change.free]
    lines += _forget(change.forget, root)
    lines.append("udevadm control --reload\n")
    if change.filters:
        lines.append("/usr/lib/systemd/systemd-sysctl --prefix=/net/bridge\n")
    lines += _by_ifupdown(change, network, root) if network.backend == "ifupdown" else _by_networkd(change, network)
    lines.append(f"sync -f {_q(root + '/etc')}\n")
    lines.append(f": > {_q(directory)}/applied\n")
    lines.append(_announce(directory))
    return "".join(lines)


def staged(path: str) -> bool:
    """Whether a new file waits in DIRECTORY/new until the change is made: ifupdown needs its old ones for going down."""
    return path.startswith("/etc/network/")


def _by_networkd(change: plan.Change, network: render.Network) -> list[str]:
    lines = [f"systemctl enable {NETWORKD}\n"] if change.enable else []
    if change.start or change.take_down or change.forget:
        lines.append(f"systemctl restart {NETWORKD}\n")
    else:
        lines.append("networkctl reload\n")
        made = [f"test -e /sys/class/net/{_q(name)}" for name in change.create + change.rebuild]
        if made:
            # A restart takes every bond's members down for a moment, so it comes only when a reload does not do.
            lines += _wait(made, 10)
            lines.append(f"{{ {' && '.join(made)}; }} || systemctl restart {NETWORKD}\n")
    bridges = {bridge["name"] for bridge in network.bridges}
    lines += [f"ip link set dev {_q(name)} type bridge stp_state 0 forward_delay 0\n"
              for name in change.reconfigure if name in bridges]
    if change.reconfigure and not change.start:
        lines.append(f"networkctl reconfigure {_words(change.reconfigure)}\n")
    # networkd gives a card up when something else sets it up in the moment before it is taken into the bond.
    lines += _wait([f"joined {_q(name)} {_q(master)}" for name, master in change.joins], 10)
    lines += [f"joined {_q(name)} {_q(master)} || {{ ip link set dev {_q(name)} down; networkctl reconfigure {_q(name)}; }}\n"
              for name, master in change.joins]
    return lines


def _by_ifupdown(change: plan.Change, network: render.Network, root: str) -> list[str]:
    """ifup makes what is not there, as it will at the next boot, and sets up bridges and VLANs that are. A bond that is there
    is changed by hand: ifenslave would take its members out."""
    lines = [f"systemctl enable {NETWORKING}\n"] if change.enable else []
    bonds = {bond["name"] for bond in network.bonds}
    made = change.create + change.rebuild
    # A bond takes no card that is up, has another master or an address.
    lines += [f"joined {_q(name)} {_q(master)} 2>/dev/null || {{ ip link set dev {_q(name)} nomaster; ip addr flush dev {_q(name)};"
              f" ip link set dev {_q(name)} down; }}\n" for name, master in change.joins if master in bonds]
    for kind, item in network.devices():
        name = item["name"]
        if name in made:
            lines += _up([name], root)
        elif name in change.reconfigure and kind == "bond":
            lines += _bond_by_hand(item)
        elif name in change.reconfigure:
            if kind == "bridge":
                lines.append(f"ip link set dev {_q(name)} address {item['mac']} type bridge stp_state 0 forward_delay 0\n")
            lines += [*_bared(name), f"{ifupdown.ipv6_switch(name, off=False)}\n", *_up([name], root)]
    for name, master in change.joins:
        down = f"ip link set dev {_q(name)} down; " if master in bonds else ""
        lines.append(f"joined {_q(name)} {_q(master)} 2>/dev/null || {{ {down}ip link set dev {_q(name)} master {_q(master)}; "
                     f"ip link set dev {_q(name)} up; }}\n")
    return lines


def _bared(name: str) -> list[str]:
    """Lines that take addresses and default routes from a device: ifup does not go on where it finds one."""
    return [f"ip addr flush dev {_q(name)} scope global 2>/dev/null\n",
            *(f"ip {family} route del default dev {_q(name)} 2>/dev/null\n" for family in ("-4", "-6"))]


def _bond_by_hand(bond: render.Item) -> list[str]:
    name = bond["name"]
    lines = [f"ip link set dev {_q(name)} mtu {bond['mtu']} address {bond['mac']} up\n", *_bared(name),
             f"{ifupdown.ipv6_switch(name, off=not any(':' in address for address in bond['addresses']))}\n"]
    lines += [f"ip addr add {address} dev {_q(name)}{' nodad' if ':' in address else ' brd +'}\n" for address in bond["addresses"]]
    lines += [f"ip {'-6' if ':' in gateway else '-4'} route add default via {gateway} dev {_q(name)} onlink\n"
              for gateway in gateways_of(bond)]
    if bond["nameservers"]:
        lines.append(f"resolvectl dns {_q(name)} {' '.join(bond['nameservers'])}\n")
    return lines


def _up(names: Sequence[str], root: str, how: str = "") -> list[str]:
    """Lines that set up interfaces whatever ifupdown thinks of them. `ifup --force` would do so with the bond below a VLAN too, and
    ifenslave leaves the members of a bond that has them down."""
    return [*_forget(names, root), f"{how}ifup {_words(names)}\n"]


def _forget(names: Iterable[str], root: str) -> list[str]:
    """Lines after which ifupdown takes interfaces for down, which they are not by its own doing."""
    state = f"{root}/run/network/ifstate"
    return [f"test ! -e {_q(state)} || sed -i {_q(f'/^{re.escape(name)}=/d')} {_q(state)}; rm -f {_q(f'{state}.{name}')}\n"
            for name in names]


def _announce(directory: str) -> str:
    """The line that tells the neighbours (module `announce`), by the Python that runs here."""
    return f"{_q(sys.executable)} {_q(directory)}/announce\n"


def _wait(conditions: Sequence[str], seconds: int) -> list[str]:
    """Lines that wait until all conditions hold, at most so long."""
    if not conditions:
        return []
    return [f"n=0; until {{ {' && '.join(conditions)}; }} 2>/dev/null || test $n -ge {seconds}; do n=$((n + 1)); sleep 1; done\n"]


def restore_script(
    change: plan.Change, network: render.Network, before: State, saved: Iterable[str], directory: str = DIRECTORY, root: str = "",
    settle_seconds: int = 15,
) -> str:
    """Back to the state before the change, from what is on the host alone.

    saved: paths whose old content lies below DIRECTORY/saved. Addresses and default routes that neither networkd nor
    ifupdown has brought back after `settle_seconds` are set by hand: reaching the host comes first.
    With the argument `boot` only files are put back, before anything configures the network; with `boot` or `again` a
    restoration that was cut off goes on.
    """
    kept = set(saved)
    lines = [
        _HEAD,
        f"cd {_q(directory)} || exit 1\n",
        'mv armed restoring 2>/dev/null || { test -n "${1:-}" && test -e restoring; } || exit 0\n',
        f"test \"${{1:-}}\" = boot || systemctl stop {APPLY_UNIT}.timer {APPLY_UNIT}.service 2>/dev/null\n",
    ]
    touched = [file.path for file in change.write] + list(change.remove)
    lines += [f"cp -p saved{_q(path)} {_q(root + path)}\n" for path in touched if path in kept]
    lines += [f"rm -f {_q(root + path)}\n" for path in touched if path not in kept]
    if change.enable:
        lines.append(f"systemctl disable {NETWORKD if network.backend == 'networkd' else NETWORKING}\n")
    if any(staged(path) for path in touched):
        # A card that came up before its old file was back is asked for again: nobody else starts an `allow-hotplug` one.
        lines.append('test "${1:-}" != boot || udevadm trigger --action=add --subsystem-match=net\n')
    lines.append('if test "${1:-}" != boot; then\n')
    lines += [f"  {line}" for line in _restore_links(change, network, before, root, settle_seconds)]
    lines.append("fi\n")
    lines += [f"sync -f {_q(root + '/etc')}\n", f"rm -f {_q(root + BOOT_LINK)} {_q(root + BOOT_UNIT)}\n", "mv restoring restored\n",
              f"systemctl stop {UNIT}.timer 2>/dev/null\n", f"test \"${{1:-}}\" = boot || {_announce(directory)}", "exit 0\n"]
    return "".join(lines)


def _restore_links(
    change: plan.Change, network: render.Network, before: State, root: str, settle_seconds: int
) -> list[str]:
    lines = [f"ip link delete dev {_q(name)} 2>/dev/null\n" for name in change.create + change.rebuild]
    joins = [(link.name, link.master) for link in sorted(before.links.values(), key=lambda link: link.name)
             if link.master and not link.is_guest_port]
    for link in _cards(before):
        lines.append(f"ip link set dev {_q(link.name)} mtu {link.mtu}\n")
        if link.master is None:
            lines.append(f"ip link set dev {_q(link.name)} nomaster\n")
            lines += [] if link.up else [f"ip link set dev {_q(link.name)} down\n"]
        else:
            # A card that is up cannot be taken into a bond.
            lines.append(f"joined {_q(link.name)} {_q(link.master)} 2>/dev/null || ip link set dev {_q(link.name)} down\n")
    lines.append("udevadm control --reload\n")
    if before.active:
        lines.append(f"systemctl restart {NETWORKD}\n")
    elif change.start:
        lines.append("systemctl stop systemd-networkd.socket systemd-networkd.service\n")
    lines += _restore_ifupdown(change, network, before, root)
    wanted = [(link.name, address) for link in before.links.values() for address in link.addresses if link.name != "lo"]
    present = [f"ip -o addr show dev {_q(name)} | grep -qF ' {address} '" for name, address in wanted]
    lines += _wait([f"joined {_q(name)} {_q(master)}" for name, master in joins] + present, settle_seconds)
    # What has not come back by itself is put back by hand.
    lines += [f"joined {_q(name)} {_q(master)} 2>/dev/null || {{ ip link set dev {_q(name)} down; "
              f"ip link set dev {_q(name)} master {_q(master)}; ip link set dev {_q(name)} up; }}\n" for name, master in joins]
    # Members of bonds too: ifenslave leaves those of a bond that has them already down.
    lines += [f"ip link set dev {_q(link.name)} up\n" for link in _cards(before) if link.up]
    for test, (name, address) in zip(present, wanted, strict=True):
        # A device of a bond or without an address of its own may have had IPv6 switched off.
        add = f"{{ {ifupdown.ipv6_switch(name, off=False)}; ip addr add {address} dev {_q(name)} nodad; }}" if ":" in address \
            else f"ip addr add {address} dev {_q(name)}"
        lines.append(f"{test} || {add}\n")
    for gateway, device in sorted(before.gateways):
        family = "-6" if ":" in gateway else "-4"
        lines.append(f"ip {family} route show default | grep -q . || "
                     f"ip {family} route add default via {gateway} dev {_q(device)}\n")
    return lines


def _restore_ifupdown(change: plan.Change, network: render.Network, before: State, root: str) -> list[str]:
    """What ifupdown had set up by the old files, and what it was made to set up by the new ones."""
    old = {name: None for path in sorted([file.path for file in change.write] + list(change.remove)) if staged(path)
           for name in ifupdown.stanzas(before.files.get(path, ""))}
    changed = {*change.take_down, *change.forget, *change.delete, *change.rebuild, *change.reconfigure}
    again = [name for name in old if name in changed and name in before.links and before.links[name].up]
    lines = []
    if network.backend == "ifupdown":
        lines += _forget(change.create + change.rebuild + change.reconfigure, root)
    for name in again:
        link = before.links[name]
        if link.kind == "bridge":
            lines.append(f"ip link set dev {_q(name)} address {link.mac} mtu {link.mtu} 2>/dev/null\n")
        lines += _bared(name)
    if again:
        # In a unit of its own that leaves a DHCP client alone: what is started here ends with the guard.
        # It is not waited for longer than this: a DHCP server may be silent, and the rest has addresses of its own.
        lines += _up(again, root, "timeout 30 systemd-run --quiet --collect --wait --property=KillMode=process ")
    return lines


def _cards(state: State) -> list[Link]:
    return sorted((link for link in state.links.values() if link.is_card), key=lambda link: link.name)


def _words(names: Iterable[str]) -> str:
    return " ".join(map(_q, names))


def _q(text: str) -> str:
    return shlex.quote(text)

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

import shlex
import sys
from collections.abc import Iterable, Sequence

from ansible_collections.xenfold.consolidation.plugins.module_utils.network import plan
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.live import Link

DIRECTORY = "/var/lib/xenfold/network"
STEPS = ("armed", "restoring", "restored", "confirmed")
UNIT = "xenfold-network-guard"
APPLY_UNIT = "xenfold-network-apply"
RESTORE_UNIT = "xenfold-network-restore"
BOOT_UNIT = "/etc/systemd/system/xenfold-network-boot.service"
BOOT_LINK = "/etc/systemd/system/multi-user.target.wants/xenfold-network-boot.service"
# Time for the module's answer to travel before the network goes away beneath it.
APPLY_AFTER_SECONDS = 3

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


def apply_script(change: plan.Change, bridges: Sequence[str], directory: str = DIRECTORY, root: str = "") -> str:
    """The change itself, after the new files are written. A bridge is never deleted while it keeps its name: the guests'
    interfaces stay on it. bridges: names of all wanted bridges; root: what stands before every path (for tests)."""
    lines = [_HEAD]
    if change.ifupdown:
        # By the old files, while they are there.
        lines.append("ifdown --all --force --exclude=lo\n")
        if any(file.path == plan.INTERFACES for file in change.write):
            lines.append(f"cp {_q(directory)}/interfaces {_q(root + plan.INTERFACES)}\n")
    lines += [f"rm -f {_q(root + path)}\n" for path in change.remove]
    lines += [f"ip link delete dev {_q(name)}\n" for name in change.delete + change.rebuild]
    lines += [f"ip link set dev {_q(name)} nomaster\n" for name in change.free]
    lines.append("udevadm control --reload\n")
    if change.filters:
        lines.append("/usr/lib/systemd/systemd-sysctl --prefix=/net/bridge\n")
    if change.enable:
        lines.append(f"systemctl enable {plan.NETWORKD}\n")
    if change.start or change.ifupdown:
        lines.append(f"systemctl restart {plan.NETWORKD}\n")
    else:
        lines.append("networkctl reload\n")
        made = [f"test -e /sys/class/net/{_q(name)}" for name in change.create + change.rebuild]
        if made:
            # A restart takes every bond's members down for a moment, so it comes only when a reload does not do.
            lines += _wait(made, 10)
            lines.append(f"{{ {' && '.join(made)}; }} || systemctl restart {plan.NETWORKD}\n")
    lines += [f"ip link set dev {_q(name)} type bridge stp_state 0 forward_delay 0\n"
              for name in change.reconfigure if name in bridges]
    if change.reconfigure and not change.start:
        lines.append(f"networkctl reconfigure {' '.join(map(_q, change.reconfigure))}\n")
    # networkd gives a card up when something else sets it up in the moment before it is taken into the bond.
    lines += _wait([f"joined {_q(name)} {_q(master)}" for name, master in change.joins], 10)
    lines += [f"joined {_q(name)} {_q(master)} || {{ ip link set dev {_q(name)} down; networkctl reconfigure {_q(name)}; }}\n"
              for name, master in change.joins]
    lines.append(f": > {_q(directory)}/applied\n")
    lines.append(_announce(directory))
    return "".join(lines)


def _announce(directory: str) -> str:
    """The line that tells the neighbours (module `announce`), by the Python that runs here."""
    return f"{_q(sys.executable)} {_q(directory)}/announce\n"


def _wait(conditions: Sequence[str], seconds: int) -> list[str]:
    """Lines that wait until all conditions hold, at most so long."""
    if not conditions:
        return []
    return [f"n=0; until {{ {' && '.join(conditions)}; }} 2>/dev/null || test $n -ge {seconds}; do n=$((n + 1)); sleep 1; done\n"]


def restore_script(
    change: plan.Change, before: plan.State, saved: Iterable[str], directory: str = DIRECTORY, root: str = "",
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
        lines.append(f"systemctl disable {plan.NETWORKD}\n")
    lines.append('if test "${1:-}" != boot; then\n')
    lines += [f"  {line}" for line in _restore_links(change, before, settle_seconds)]
    lines.append("fi\n")
    lines += [f"rm -f {_q(root + BOOT_LINK)} {_q(root + BOOT_UNIT)}\n", "mv restoring restored\n",
              f"systemctl stop {UNIT}.timer 2>/dev/null\n", f"test \"${{1:-}}\" = boot || {_announce(directory)}", "exit 0\n"]
    return "".join(lines)


def _restore_links(change: plan.Change, before: plan.State, settle_seconds: int) -> list[str]:
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
    if change.start:
        lines.append("systemctl stop systemd-networkd.socket systemd-networkd.service\n")
    else:
        lines.append(f"systemctl restart {plan.NETWORKD}\n")
    if change.ifupdown:
        lines.append("systemctl restart networking.service\n")
    wanted = [(link.name, address) for link in before.links.values() for address in link.addresses if link.name != "lo"]
    present = [f"ip -o addr show dev {_q(name)} | grep -qF ' {address} '" for name, address in wanted]
    lines += _wait([f"joined {_q(name)} {_q(master)}" for name, master in joins] + present, settle_seconds)
    # What has not come back by itself is put back by hand.
    lines += [f"joined {_q(name)} {_q(master)} 2>/dev/null || {{ ip link set dev {_q(name)} down; "
              f"ip link set dev {_q(name)} master {_q(master)}; ip link set dev {_q(name)} up; }}\n" for name, master in joins]
    lines += [f"ip link set dev {_q(link.name)} up\n" for link in _cards(before) if link.up and link.master is None]
    lines += [f"{test} || ip addr add {address} dev {_q(name)}\n"
              for test, (name, address) in zip(present, wanted, strict=True)]
    for gateway, device in sorted(before.gateways):
        family = "-6" if ":" in gateway else "-4"
        lines.append(f"ip {family} route show default | grep -q . || "
                     f"ip {family} route add default via {gateway} dev {_q(device)}\n")
    return lines


def _cards(state: plan.State) -> list[Link]:
    return sorted((link for link in state.links.values() if link.is_card), key=lambda link: link.name)


def _q(text: str) -> str:
    return shlex.quote(text)

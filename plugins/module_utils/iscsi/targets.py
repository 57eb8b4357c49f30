# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""iSCSI targets with guests' disks: what may be said of them, and from what open-iscsi tells to its commands. Pure (iscsiadm(8))."""
from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile

TARGET_SPEC: dict[str, dict[str, Any]] = {
    "portal": {"type": "str", "required": True},
    "target": {"type": "str", "required": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
}
PACKAGE = "open-iscsi"
DEFAULT_PORT = 3260
NOTHING = 21
"""How iscsiadm ends when there are no records or sessions (ISCSI_ERR_NO_OBJS_FOUND)."""
STARTUP = "node.startup"
INITIATOR_FILE = "/etc/iscsi/initiatorname.iscsi"
"""The name of the host; open-iscsi does not start without one."""
NEW_NAME = ["iscsi-iname", "-p", "iqn.1993-08.org.debian:01"]
"""Tells a name that no other host has, as Debian's package gives one when it is installed."""
RULES_FILE = "/etc/udev/rules.d/62-xenfold-iscsi.rules"
"""After the rules that look at what is on a disk (60) and before those that take it up (64 for md, 69 for LVM)."""
_AUTH = "node.session.auth."
# RFC 3720, 3.2.6: iqn with a date and a name, eui and naa with hexadecimal digits.
_NAME = re.compile(r"iqn\.[0-9]{4}-[0-9]{2}\.[a-z0-9.-]+(?::[a-z0-9.:-]+)?|eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]{16}(?:[0-9A-Fa-f]{16})?")
_SESSION = re.compile(r"^\S+: \[[0-9]+\] (\S+?),\S+ (\S+)", re.MULTILINE)
_SETTING = re.compile(r"^(\S+) = (.*)$", re.MULTILINE)
_LEAST_PASSWORD, _MOST_PASSWORD = 12, 16

Wanted = Mapping[str, Any]


def portal_of(wanted: Wanted) -> str:
    """Address and port as open-iscsi writes them. Raises ValueError for what is none."""
    text = wanted["portal"]
    match = re.fullmatch(r"\[([^]]+)\](?::([0-9]{1,5}))?|([^:]+)(?::([0-9]{1,5}))?", text)
    if match is None:
        address, port = ipaddress.ip_address(text), DEFAULT_PORT
    else:
        address, port = ipaddress.ip_address(match[1] or match[3]), int(match[2] or match[4] or DEFAULT_PORT)
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port}")
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def check(targets: Sequence[Wanted]) -> list[str]:
    """What is wrong with targets, each by its place."""
    errors, seen = [], set()
    for index, wanted in enumerate(targets):
        key = f"targets[{index}]"
        try:
            portal_of(wanted)
        except ValueError:
            errors.append(f"{key}.portal: value {wanted['portal']!r}, allowed an IP address, with or without a port: 10.0.9.5:3260,"
                          " [fd00::5]:3260")
        errors += [f"{key}.target: {error}" for error in check_names([wanted["target"]])]
        if wanted["target"] in seen:
            # By two ways a disk has two names, and two guests could write it.
            errors.append(f"{key}.target: value {wanted['target']!r}, allowed once; several ways to it are a matter of multipath")
        seen.add(wanted["target"])
        if bool(wanted.get("username")) != bool(wanted.get("password")):
            missing = "password" if wanted.get("username") else "username"
            errors.append(f"{key}.{missing}: missing, allowed both username and password, or neither")
        elif wanted.get("password") and not _LEAST_PASSWORD <= len(wanted["password"]) <= _MOST_PASSWORD:
            errors.append(f"{key}.password: value of {len(wanted['password'])} characters, allowed {_LEAST_PASSWORD} to {_MOST_PASSWORD}")
    return errors


def check_names(names: Iterable[str]) -> list[str]:
    """What is wrong with names of targets."""
    return [f"value {name!r}, allowed a name of iSCSI: iqn.2026-11.example.storage:guests" for name in names if not _NAME.fullmatch(name)]


def rules_file(targets: Iterable[Wanted]) -> WantedFile:
    """What keeps udev from taking up what is on a guest's disk: LVM's own filter goes by the names of links, which are not known where udev
    has it look at one device (pvscan.c), and md would assemble an array of a guest."""
    names = sorted(str(wanted["target"]) for wanted in targets)
    lines = [f'SUBSYSTEM=="block", ENV{{ID_PATH}}=="ip-*-iscsi-{name}-lun-*", ENV{{ID_FS_TYPE}}="",'
             ' ENV{DM_UDEV_DISABLE_OTHER_RULES_FLAG}="1"\n' for name in names]
    return WantedFile(RULES_FILE, "# Written by Xenfold; changes by hand are lost. Disks of guests, of which this host takes up nothing.\n"
                      + "".join(lines), 0o644)


def parse_sessions(text: str) -> set[tuple[str, str]]:
    """(portal, target) of `iscsiadm -m session`."""
    return {(match[1], match[2]) for match in _SESSION.finditer(text)}


def parse_record(text: str) -> dict[str, str]:
    """The settings of `iscsiadm -m node -T TARGET -p PORTAL`; {} for one that there is not. What is not set is `<empty>`."""
    return {match[1]: "" if match[2] == "<empty>" else match[2] for match in _SETTING.finditer(text)}


def node(wanted: Wanted, *words: str) -> list[str]:
    """A command about the record of a target."""
    return ["iscsiadm", "-m", "node", "-T", wanted["target"], "-p", portal_of(wanted), *words]


@dataclass
class Plan:
    """actions for people; commands: in order."""

    actions: list[Action] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)


def plan(targets: Iterable[Wanted], records: Mapping[tuple[str, str], Mapping[str, str]], sessions: Iterable[tuple[str, str]]) -> Plan:
    """Records that are missing or differ, and sessions that there are not. records: by (portal, target).

    A session that works keeps the name and password that it was opened with: it would have to be closed, and guests have its disks.
    """
    result, there = Plan(), set(sessions)
    for wanted in targets:
        identity = (portal_of(wanted), wanted["target"])
        title, record = f"target {wanted['target']}", dict(records.get(identity, {}))
        if not record:
            result.actions.append(Action("add", title, f"at {identity[0]}"))
            result.commands.append(node(wanted, "-o", "new"))
        settings = {f"{_AUTH}authmethod": "None"} if not wanted.get("username") else {
            f"{_AUTH}authmethod": "CHAP", f"{_AUTH}username": wanted["username"], f"{_AUTH}password": wanted["password"]}
        # The last, so that a host whose run was cut off does not try with half of them.
        for key, value in {**settings, STARTUP: "automatic"}.items():
            if record.get(key) != value:
                shown = "another password" if key.endswith("password") else f"{record.get(key) or 'nothing'} -> {value}"
                if record:
                    result.actions.append(Action("change", f"{title} {key}", shown))
                result.commands.append(node(wanted, "-o", "update", "-n", key, "-v", value))
        if identity not in there:
            result.actions.append(Action("log in", title, f"at {identity[0]}"))
            result.commands.append(node(wanted, "--login"))
    return result


def device_prefix(wanted: Wanted) -> str:
    """What the stable names of a target's disks begin with, by the rules of udev; the number of the disk follows."""
    portal = portal_of(wanted).replace("[", "").replace("]", "")
    return f"/dev/disk/by-path/ip-{portal}-iscsi-{wanted['target']}-lun-"

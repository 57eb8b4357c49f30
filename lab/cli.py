# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command line: python3 -m lab [--name NAME] COMMAND."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence

from lab import faults, labs, powercut, snapshots, ssh
from lab.console import tail
from lab.errors import LabError
from lab.image import ensure_image
from lab.releases import RELEASES
from lab.spec import KINDS, LIMITS, Spec, check_name, host_number
from lab.state import locked, need_lab


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python3 -m lab", description="Real Xen hosts in QEMU. See docs/lab.md.")
    top.add_argument("--name", default="lab", help="name of the lab; several may run side by side (default: lab)")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, *arguments: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        for argument in arguments:
            sub.add_argument(argument, type=int if argument == "disk" else str)
        return sub

    sub = add("up", "boot the lab, or bring it to a snapshot")
    default = Spec()
    release = os.environ.get("XENFOLD_LAB_RELEASE", default.release)
    sub.add_argument("--kind", default=default.kind, choices=KINDS)
    sub.add_argument("--release", default=release, choices=sorted(RELEASES))
    for key, (low, high) in LIMITS.items():
        sub.add_argument(
            f"--{key.replace('_', '-')}", type=int, default=getattr(default, key), metavar="N", help=f"{low} to {high}"
        )
    sub.add_argument("--log-writes", action="store_true", help="log what is written to disks, for power-off --lose-unflushed")
    sub.add_argument("--iommu", action="store_true", help="hosts with an IOMMU, and a device that a guest may have")
    sub.add_argument("--snapshot", metavar="NAME", help="restore this snapshot; when there is none, boot and save it")
    sub.add_argument("--timeout", type=int, default=faults.BOOT_SECONDS, metavar="SECONDS", help="bound of a cold boot")
    sub = add("down", "end the lab's processes and remove its run folder")
    sub.add_argument("--all", action="store_true", help="of all labs of this checkout, whatever their names")
    sub = add("status", "what runs")
    sub.add_argument("--json", action="store_true")
    sub = add("ssh", "log in to a host, or run a command on it", "host")
    sub.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    sub = add("console", "show a host's serial console and follow it", "host")
    sub.add_argument("--lines", type=int, metavar="N", help="show the last N lines and end")
    add("save", "save the state of all hosts", "snapshot")
    add("restore", "bring all hosts back to a saved state", "snapshot")
    add("snapshots", "list the saved states")
    sub = add("image", "build a disk image into the cache", "kind")
    sub.add_argument("--release", default=release, choices=sorted(RELEASES))
    add("pull-disk", "take a data disk out of a running host", "host", "disk")
    sub = add("insert-disk", "put a new empty disk into a running host", "host", "disk")
    sub.add_argument("--serial", help="serial number of the new disk (default: XF<host>D<disk>R<n>)")
    sub = add("plug-disk", "put a new empty disk into the first bay of a running host that has none", "host")
    sub.add_argument("--serial", required=True, help="serial number of the new disk")
    sub.add_argument("--size-gib", type=int, metavar="N", help="size of the new disk (default: that of the lab's disks)")
    add("unplug-nic", "unplug the cable of a NIC", "host", "nic")
    add("plug-nic", "plug the cable of a NIC in again", "host", "nic")
    sub = add("power-off", "cut the power of a host", "host")
    sub.add_argument("--lose-unflushed", action="store_true", help="and lose what its disks were not told to make durable")
    sub.add_argument("--seed", type=int, metavar="N", help="lose each of these writes or not, by chance (default: lose all)")
    sub = add("power-on", "boot a host that is off, and wait for it", "host")
    sub.add_argument("--without", default="", metavar="FEATURES", help="CPU features that it has not this time: bmi2,sha-ni")
    add("cut-network", "unplug all data NICs of a host", "host")
    add("join-network", "plug all data NICs of a host in again", "host")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did what it says, 1 with one message when it could not, 2 for bad usage."""
    args = parser().parse_args(arguments)
    try:
        check_name("--name", args.name)
        return _COMMANDS[args.command](args)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141


def _up(args: argparse.Namespace) -> int:
    shape = {key: getattr(args, key) for key in LIMITS}
    spec = Spec(kind=args.kind, release=args.release, log_writes=args.log_writes, iommu=args.iommu, **shape)
    with locked(args.name):
        labs.up(args.name, spec, args.snapshot, args.timeout)
    return 0


def _down(args: argparse.Namespace) -> int:
    for name in labs.names() if args.all else [args.name]:
        with locked(name):
            labs.down(name)
    return 0


def _status(args: argparse.Namespace) -> int:
    record = labs.status(need_lab(args.name))
    print(json.dumps(record, indent=2, sort_keys=True) if args.json else labs.status_text(record))
    return 0


def _ssh(args: argparse.Namespace) -> int:
    lab = need_lab(args.name)
    host_number(lab.spec, args.host)
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    # One word is a line of shell, as with ssh itself; several are a command with its arguments kept apart.
    remote = words if len(words) <= 1 else [shlex.join(words)]
    command = ssh.command(lab, args.host, remote)
    sys.stdout.flush()
    os.execvp(command[0], command)


def _console(args: argparse.Namespace) -> int:
    lab = need_lab(args.name)
    host_number(lab.spec, args.host)
    path = lab.serial_log(args.host)
    if args.lines is not None:
        if args.lines < 1:
            raise LabError(f"--lines {args.lines}: allowed: 1 and more")
        print(tail(path, args.lines))
        return 0
    seen = 0
    while path.parent.exists():
        try:
            with path.open("rb") as stream:
                stream.seek(seen if seen <= path.stat().st_size else 0)
                data = stream.read()
                seen = stream.tell()
        except FileNotFoundError:
            data, seen = b"", 0
        if data:
            sys.stdout.write(data.decode("utf-8", "replace").replace("\r", ""))
            sys.stdout.flush()
        time.sleep(0.5)
    return 0


def _save(args: argparse.Namespace) -> int:
    with locked(args.name):
        snapshots.save(need_lab(args.name), args.snapshot)
    return 0


def _restore(args: argparse.Namespace) -> int:
    with locked(args.name):
        snapshots.restore(need_lab(args.name), args.snapshot)
    return 0


def _snapshots(args: argparse.Namespace) -> int:
    for name in sorted(need_lab(args.name).snapshots()):
        print(name)
    return 0


def _image(args: argparse.Namespace) -> int:
    store = ensure_image(args.release, args.kind)
    print(store.image(args.kind))
    return 0


def _fault(action: Callable[[labs.Lab, argparse.Namespace], None]) -> Callable[[argparse.Namespace], int]:
    """A command on one host of a lab that exists."""

    def command(args: argparse.Namespace) -> int:
        with locked(args.name):
            lab = need_lab(args.name)
            host_number(lab.spec, args.host)
            action(lab, args)
        return 0

    return command


def _power_off(lab: labs.Lab, args: argparse.Namespace) -> None:
    if args.lose_unflushed:
        powercut.lose_unflushed(lab, args.host, args.seed)
    elif args.seed is not None:
        raise LabError(f"power-off {args.host} --seed {args.seed}: allowed with --lose-unflushed only")
    else:
        faults.power_off(lab, args.host)


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "up": _up,
    "down": _down,
    "status": _status,
    "ssh": _ssh,
    "console": _console,
    "save": _save,
    "restore": _restore,
    "snapshots": _snapshots,
    "image": _image,
    "pull-disk": _fault(lambda lab, args: faults.pull_disk(lab, args.host, args.disk)),
    "insert-disk": _fault(lambda lab, args: faults.insert_disk(lab, args.host, args.disk, args.serial)),
    "plug-disk": _fault(lambda lab, args: faults.plug_disk(lab, args.host, args.serial, args.size_gib)),
    "unplug-nic": _fault(
        lambda lab, args: faults.set_cable(lab, args.host, [faults.find_nic(lab, args.host, args.nic)], False)
    ),
    "plug-nic": _fault(
        lambda lab, args: faults.set_cable(lab, args.host, [faults.find_nic(lab, args.host, args.nic)], True)
    ),
    "power-off": _fault(_power_off),
    "power-on": _fault(lambda lab, args: faults.power_on(lab, [args.host], without=args.without.split(",") if args.without else ())),
    "cut-network": _fault(lambda lab, args: faults.set_cable(lab, args.host, faults.data_nics(lab, args.host), False)),
    "join-network": _fault(lambda lab, args: faults.set_cable(lab, args.host, faults.data_nics(lab, args.host), True)),
}

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what holds on the host this runs on and carries out steps there.

Carried to the hosts as it stands.
"""
from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from . import kernel, plan

BACKENDS = "/local/domain/0/backend"

_GUEST_PORT = re.compile(r"(?:vif|tap)[0-9.]+(?:-emu)?")

Command = Callable[[list[str], "str | None"], "tuple[int, str, str]"]
"""Runs a command with an input: its return code, output and errors."""


class HostError(Exception):
    """Something could not be read or done; the text says what."""


class Host:
    """The host, below `root` (another than / for tests)."""

    def __init__(self, run: Command, root: str = "/") -> None:
        self._run = run
        self._root = root

    def _at(self, path: str) -> Path:
        return Path(self._root, path.lstrip("/"))

    def _ask(self, argv: list[str], data: str | None = None) -> str:
        code, out, err = self._run(argv, data)
        if code != 0:
            raise HostError(f"'{' '.join(argv)}' failed with return code {code}: {err.strip() or out.strip() or 'nothing'}")
        return out

    def _text(self, path: Path) -> str:
        """A file of the kernel's; empty when it is gone by now, as those of threads and devices are at any time."""
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def read(self, wanted: plan.Wanted) -> kernel.Actual:
        """What holds now, as far as it bears on the wanted limits and on what is ours already."""
        found = self._backends()
        names = self._names({domid for _kind, domid, _device in found})
        groups = self._groups()
        qdiscs = kernel.qdiscs(self._ask(["tc", "-j", "qdisc", "show"]))
        cards = kernel.interfaces(found)
        bridges = {name: self._uplinks(name, cards) for name in plan.minima(wanted) if self._at(f"/sys/class/net/{name}/bridge").is_dir()}
        ours = {port.device for ports in bridges.values() for port in ports
                if (qdisc := qdiscs.get(port.device)) and (qdisc.kind, qdisc.handle) == ("htb", kernel.HANDLE)}
        return kernel.Actual(
            disks=kernel.disks(found, names),
            vifs=kernel.vifs(found, names, self._queues()),
            threads=self._threads() if groups or any(parts.get("disks") for parts in wanted.values()) else {},
            groups=groups,
            qdiscs=qdiscs,
            bridges=bridges,
            trees={device: self._tree(device) for device in sorted(ours)},
            io=all("io" in self._text(self._at(f"{path}/cgroup.subtree_control")).split() for path in (plan.CGROUPS, plan.OURS)),
        )

    def _backends(self) -> dict[tuple[str, int, int], dict[str, str]]:
        code, out, err = self._run(["xenstore-ls", "-f", BACKENDS], None)
        # Before the first guest the path is not there, which is an answer too. A node below it that has just gone cuts the list off.
        if code != 0 and f"xs_directory ({BACKENDS}): No such file or directory" not in err:
            raise HostError(f"'xenstore-ls -f {BACKENDS}' failed with return code {code}: {err.strip() or 'nothing'}")
        return kernel.backends(out)

    def _names(self, domids: set[int]) -> dict[int, str]:
        keys = {f"/local/domain/{domid}/name": domid for domid in sorted(domids)}
        code, out, _err = self._run(["xenstore-read", "-p", *keys], None) if keys else (0, "", "")
        if code != 0:
            # One that is gone keeps xenstore-read from telling the others.
            out = "".join(map(self._node, keys))
        pairs = (line.partition(": ") for line in out.splitlines())
        return {keys[key]: name for key, _colon, name in pairs if key in keys}

    def _node(self, key: str) -> str:
        """What `xenstore-read -p` tells of a node, empty when it is gone. No answer is none: guests without a name lose their limits."""
        argv = ["xenstore-read", "-p", key]
        code, out, err = self._run(argv, None)
        if code != 0 and "couldn't read path" not in err:
            raise HostError(f"'{' '.join(argv)}' failed with return code {code}: {err.strip() or 'nothing'}")
        return out

    def _queues(self) -> dict[str, int]:
        return {path.name: len(list(path.glob("queues/tx-*"))) or 1 for path in self._at("/sys/class/net").glob("*")}

    def _threads(self) -> dict[int, tuple[int, str]]:
        found = {}
        for path in self._at("/proc").glob("[0-9]*"):
            comm = self._text(path / "comm")
            if "." in comm and (whose := kernel.thread(comm, self._text(path / "stat"))):
                found[int(path.name)] = whose
        return found

    def _groups(self) -> dict[str, kernel.Group]:
        return {
            path.name.removeprefix(plan.PREFIX): kernel.Group(
                kernel.io_max(self._text(path / "io.max")), frozenset(map(int, self._text(path / "cgroup.procs").split())))
            for path in sorted(self._at(plan.OURS).glob(f"{plan.PREFIX}*"))
        }

    def _uplinks(self, bridge: str, cards: frozenset[str]) -> tuple[kernel.Uplink, ...]:
        ports = sorted(path.name for path in self._at(f"/sys/class/net/{bridge}/brif").glob("*"))
        return tuple(self._uplink(port) for port in ports
                     if not _GUEST_PORT.fullmatch(port) and port.removesuffix("-emu") not in cards)

    def _uplink(self, device: str) -> kernel.Uplink:
        # Several VLANs share what is below them, so that is where shares are held.
        while "DEVTYPE=vlan" in self._text(self._at(f"/sys/class/net/{device}/uevent")).split():
            below = sorted(path.name for path in self._at(f"/sys/class/net/{device}").glob("lower_*"))
            if not below:
                break
            device = below[0].removeprefix("lower_")
        speed = self._text(self._at(f"/sys/class/net/{device}/speed")).strip()
        members = self._text(self._at(f"/sys/class/net/{device}/bonding/slaves")).split()
        without_link = any(self._text(self._at(f"/sys/class/net/{member}/carrier")).strip() != "1" for member in members)
        return kernel.Uplink(device, int(speed) if speed.isdigit() and int(speed) else None, without_link)

    def _tree(self, device: str) -> kernel.Tree:
        return kernel.tree(self._ask(["tc", "class", "show", "dev", device]),
                           self._ask(["tc", "-j", "filter", "show", "dev", device, "parent", kernel.HANDLE]))

    def carry_out(self, steps: Iterable[plan.Step]) -> list[str]:
        """Carry out steps; those that fail are told, and do not keep the others from being made."""
        failed = []
        for step in steps:
            try:
                for deed in step.deeds:
                    self._do(deed)
            except (OSError, HostError) as error:
                failed.append(f"{step.line()}: {error}")
        return failed

    def _do(self, deed: plan.Deed) -> None:
        if isinstance(deed, plan.Make):
            self._at(deed.path).mkdir(exist_ok=True)
        elif isinstance(deed, plan.Remove):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(self._at(deed.path))
        elif isinstance(deed, plan.Write):
            # A thread that has ended in the meantime needs no limit any more.
            with contextlib.suppress(ProcessLookupError), open(self._at(deed.path), "w", encoding="ascii") as file:
                file.write(deed.text)
        else:
            self._ask(list(deed.argv), deed.data)

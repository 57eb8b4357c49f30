# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the network of the host this runs on, and keeps the state of the guard there."""
from __future__ import annotations

import glob
import inspect
import json
import os
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils import systemd
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, read_texts, write_atomically
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import announce, guard, live, mtu, plan, render
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.state import (
    NETWORK_MANAGER,
    NETWORKD,
    NETWORKING,
    RESOLVED,
    State,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import gateways_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

_PATTERNS = (
    "etc/systemd/network/*.network", "etc/systemd/network/*.netdev", "run/systemd/network/*.network",
    "usr/lib/systemd/network/*.network", "etc/network/interfaces", "etc/network/interfaces.d/*",
    render.SYSCTL.lstrip("/"), render.UDEV.lstrip("/"),
)
_UNITS = (NETWORKD, NETWORK_MANAGER, RESOLVED, NETWORKING)
# The kernel asks a neighbour that it knows from earlier after 5 seconds (delay_first_probe_time), then three times in 3 seconds.
_NEIGHBOUR_PAUSE_SECONDS = 0.5
_NEIGHBOUR_ROUNDS = 18


class Host:
    """The host, below `root` (another than / for tests). Questions go through `runner`."""

    def __init__(self, runner: Runner, root: str = "/") -> None:
        self._runner = runner
        self._root = root
        self.directory = self._at(guard.DIRECTORY)

    def _at(self, path: str) -> str:
        return os.path.join(self._root, path.lstrip("/"))

    def read(self, network: render.Network, ask_gateways: bool = False) -> State:
        """The state of the network. ask_gateways: make the kernel look for them, as far as they are not known."""
        units = systemd.show(self._runner, "ActiveState,UnitFileState", *_UNITS)
        paths = any("path" in member and member["path"] for bond in network.bonds for member in bond["members"])
        text = self._runner.read(["ip", "-j", "-d", "addr", "show"]).out
        links = live.parse_links(text, self._id_paths(live.parse_links(text)) if paths else {})
        return State(
            links=links,
            bonds={name: live.parse_bond(self._text(f"/proc/net/bonding/{name}")) for name, link in links.items()
                   if link.kind == "bond" and os.path.exists(self._at(f"/proc/net/bonding/{name}"))},
            files=self._files(),
            gateways=self._gateways(),
            neighbours=self._neighbours(network) if ask_gateways else {},
            filters={name: self._text(f"/proc/sys/net/bridge/bridge-nf-call-{name}").strip() for name in render.BRIDGE_FILTERS
                     if os.path.exists(self._at(f"/proc/sys/net/bridge/bridge-nf-call-{name}"))},
            active=units[0].get("ActiveState") == "active",
            enabled=units[0].get("UnitFileState") == "enabled",
            network_manager=len(units) > 1 and units[1].get("ActiveState") == "active",
            resolved=len(units) > 2 and units[2].get("ActiveState") == "active",
            networking=len(units) > 3 and units[3].get("UnitFileState") == "enabled",
            missing=self._missing(),
        )

    def _text(self, path: str) -> str:
        return Path(self._at(path)).read_text(encoding="utf-8", errors="surrogateescape")

    def _files(self) -> dict[str, str]:
        found = sorted(path for pattern in _PATTERNS for path in glob.glob(os.path.join(self._root, pattern)))
        texts = read_texts(path for path in found if os.path.isfile(path))
        return {"/" + os.path.relpath(path, self._root): text for path, text in texts.items() if text is not None}

    def _missing(self) -> frozenset[str]:
        there = {"ifupdown": ("usr/sbin/ifup", "sbin/ifup"), "ifenslave": ("etc/network/if-pre-up.d/ifenslave",),
                 "bridge-utils": ("etc/network/if-pre-up.d/bridge",), "iputils-ping": ("usr/bin/ping", "bin/ping")}
        missing = {name for name, paths in there.items() if not any(os.path.exists(self._at(path)) for path in paths)}
        # ifupdown2 has an ifup, too, that reads other options.
        return frozenset(missing | ({"ifupdown"} if os.path.exists(self._at("usr/share/ifupdown2")) else set()))

    def _id_paths(self, links: Mapping[str, live.Link]) -> dict[str, str]:
        return {name: self._runner.read(["udevadm", "info", "--query=property", "--property=ID_PATH", "--value",
                                         f"/sys/class/net/{name}"], ok=()).out.strip()
                for name, link in sorted(links.items()) if link.is_card}

    def _gateways(self) -> frozenset[tuple[str, str]]:
        routes = []
        for family in ("-4", "-6"):
            routes += json.loads(self._runner.read(["ip", "-j", family, "route", "show", "default"]).out or "[]")
        return frozenset((route["gateway"], route["dev"]) for route in routes if "gateway" in route)

    def _neighbours(self, network: render.Network) -> dict[str, str]:
        states: dict[str, str] = {}
        asked = {item["name"]: found for _kind, item in network.devices()
                 if (found := [gateway for gateway in gateways_of(item) if self._probed(gateway, item["name"])])}
        for _round in range(_NEIGHBOUR_ROUNDS if asked else 0):
            time.sleep(_NEIGHBOUR_PAUSE_SECONDS)
            for device in asked:
                states |= live.parse_neighbours(self._runner.read(["ip", "-j", "neigh", "show", "dev", device], ok=()).out)
            if not any(states.get(gateway) in live.UNDECIDED for gateways in asked.values() for gateway in gateways):
                break
        return states

    @staticmethod
    def _probed(gateway: str, device: str) -> bool:
        """Any datagram makes the kernel ask for the gateway's hardware address; this one goes to the discard port."""
        with socket.socket(socket.AF_INET6 if ":" in gateway else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
                probe.sendto(b"", (gateway, 9))
            except OSError:
                return False
        return True

    def unmet(self, network: render.Network, asserts: Sequence[str], mtu_peers: Sequence[str]) -> list[str]:
        """What of the network does not hold. Peers are asked, which takes seconds where they are silent, when all else holds."""
        state = self.read(network, ask_gateways="gateway" in asserts)
        lines = plan.unmet(network, state, asserts)
        if lines or "mtu" not in asserts or not network.devices():
            return lines
        return [line for peer in mtu_peers if (line := self._peer_unmet(peer, state.links))]

    def _peer_unmet(self, peer: str, links: Mapping[str, live.Link]) -> str:
        route = mtu.parse_route(self._runner.read(["ip", "-j", "route", "get", peer], ok=()).out)
        if route is None or route.device not in links:
            return mtu.unreachable(peer)
        if route.local:
            return ""
        size = links[route.device].mtu
        answered = self._runner.read(mtu.question(peer, size), ok=()).rc == 0
        return "" if answered else mtu.silent(peer, size, route.device)

    def networkd_says(self, names: Sequence[str]) -> list[str]:
        """What networkd thinks of those of its devices that it has not configured."""
        states = live.parse_networkctl(self._runner.read(["networkctl", "list", "--no-legend", "--no-pager"], ok=()).out)
        return [f"{name} {states[name]}" for name in names if states.get(name, "configured") != "configured"]

    def step(self) -> str | None:
        """Where the guard stands: one of guard.STEPS, or None when no change was ever made."""
        return next((step for step in guard.STEPS if os.path.exists(os.path.join(self.directory, step))), None)

    def recorded(self) -> dict[str, Any]:
        """What was recorded when the guard was armed."""
        return dict(json.loads(Path(self.directory, "change.json").read_text(encoding="utf-8")))

    def overlay(self, state: State) -> State:
        """`state` with the files that the guard would put back: what a preview must start from."""
        record = self.recorded()
        files = {path: text for path, text in state.files.items() if path not in record["touched"]}
        saved = read_texts(self._saved(path) for path in record["touched"])
        files |= {path: text for path in record["touched"] if (text := saved[self._saved(path)]) is not None}
        return State(**{**vars(state), "files": files})

    def _saved(self, path: str) -> str:
        return os.path.join(self.directory, "saved", path.lstrip("/"))

    def arm(self, change: plan.Change, before: State, record: Mapping[str, Any], confirm_seconds: int) -> None:
        """Save the old network, start the guard's timer, write the new files and start the change in a moment.

        From here on the host comes back to the old network by itself, unless the new one is confirmed.
        """
        shutil.rmtree(self.directory, ignore_errors=True)
        os.makedirs(self.directory, mode=0o700)
        touched = [file.path for file in change.write] + list(change.remove)
        saved = [path for path in touched if os.path.exists(self._at(path))]
        for path in saved:
            os.makedirs(os.path.dirname(self._saved(path)), exist_ok=True)
            shutil.copy2(self._at(path), self._saved(path))
        root = self._root.rstrip("/")
        network = render.Network.of(**record["network"])
        entries = {
            "before.json": self._runner.read(["ip", "-j", "-d", "addr", "show"]).out,
            "before-routes.json": self._runner.read(["ip", "-j", "route", "show"]).out,
            "before-routes6.json": self._runner.read(["ip", "-j", "-6", "route", "show"]).out,
            "restore": guard.restore_script(change, network, before, saved, self.directory, root),
            "announce": inspect.getsource(announce),
            "apply": guard.apply_script(change, network, self.directory, root),
            "change.json": json.dumps({**record, "idle": change.idle, "touched": touched, "armed_at": time.monotonic(),
                                       "confirm_seconds": confirm_seconds}),
        }
        entries |= {f"{guard.STAGED.lstrip('/')}{file.path}": file.content for file in change.write if guard.staged(file.path)}
        for name, text in entries.items():
            write_atomically(WantedFile(os.path.join(self.directory, name), text, 0o600))
        write_atomically(WantedFile(self._at(guard.BOOT_UNIT), guard.boot_unit(self.directory)))
        os.makedirs(os.path.dirname(self._at(guard.BOOT_LINK)), exist_ok=True)
        if not os.path.lexists(self._at(guard.BOOT_LINK)):
            os.symlink(guard.BOOT_UNIT, self._at(guard.BOOT_LINK))
        # A power cut must not leave saved files empty that the guard would put back.
        self._runner.change(["sync", "-f", self.directory, self._at("/etc")])
        write_atomically(WantedFile(os.path.join(self.directory, "armed"), "", 0o600))
        self._later(guard.UNIT, confirm_seconds, "restore")
        for file in change.write:
            if not guard.staged(file.path):
                write_atomically(WantedFile(self._at(file.path), file.content, file.mode))
        self._later(guard.APPLY_UNIT, guard.APPLY_AFTER_SECONDS, "apply")

    def _later(self, unit: str, seconds: int, script: str) -> None:
        # The service of an earlier change may still be telling the neighbours; its name is needed.
        self._runner.change(["systemctl", "stop", f"{unit}.timer", f"{unit}.service"], ok=())
        self._runner.change(["systemd-run", f"--on-active={seconds}", f"--unit={unit}", "--timer-property=AccuracySec=100ms",
                             "--collect", "/bin/sh", os.path.join(self.directory, script)])

    def applied(self) -> bool:
        """Whether the script of the change came to its end."""
        return os.path.exists(os.path.join(self.directory, "applied"))

    def confirm(self) -> bool:
        """Keep the new network. False when the guard was faster."""
        try:
            os.rename(os.path.join(self.directory, "armed"), os.path.join(self.directory, "confirmed"))
        except FileNotFoundError:
            return False
        self._runner.change(["sync", "-f", self.directory])
        self._runner.change(["systemctl", "stop", f"{guard.UNIT}.timer"], ok=())
        if self.recorded().get("idle"):
            # Not before: had the host restarted, its old network would have needed the service.
            self._runner.change(["systemctl", "disable", NETWORKD], ok=())
        for path in (guard.BOOT_LINK, guard.BOOT_UNIT):
            if os.path.lexists(self._at(path)):
                os.unlink(self._at(path))
        return True

    def restore(self) -> None:
        """Let the guard act now, detached from whoever asks: the connection may not survive it.

        One that was cut off in the middle (power, a kill) is started again; one that is at work is left alone.
        """
        argument = []
        if self.step() == "restoring":
            units = [f"{guard.UNIT}.service", f"{guard.RESTORE_UNIT}.service"]
            if "active" in self._runner.read(["systemctl", "is-active", *units], ok=()).out.replace("inactive", ""):
                return
            argument = ["again"]
        else:
            self._runner.change(["systemctl", "stop", f"{guard.RESTORE_UNIT}.service"], ok=())
        self._runner.change(["systemd-run", f"--unit={guard.RESTORE_UNIT}", "--collect", "--no-block", "/bin/sh",
                             os.path.join(self.directory, "restore"), *argument], ok=())

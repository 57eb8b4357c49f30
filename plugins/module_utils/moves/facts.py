# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one host tells of its guests and of the moves that work on it. Changes nothing."""
from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import state as drbd
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm.volumes import rows
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import (
    guard,
    listing,
    processes,
    trust,
    units,
    volume_receive,
    volumes,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import compare
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import host as xl_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.commands import Xl
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import Domain

_QUIET_LOOK_SECONDS = 2
_EVERY_CODE: tuple[int, ...] = ()
_BANNER = "xl migration receiver ready"


def read(
    runner: Runner, config_dir: str, autostart_dir: str, needs: Iterable[str] = (), peers: Sequence[Mapping[str, Any]] = (),
    key_dir: str = trust.KEY_DIR, quiet_seconds: int = 0,
) -> dict[str, Any]:
    """All of it, in the shape that the module xl_move_info documents."""
    moving, receiving = _quiet(quiet_seconds)
    xen = xl_host.xen_runs()
    xl = Xl(runner)
    copies = listing.parse(runner.read(listing.COMMAND).out) if xen else []
    info = xl.info() if xen else {}
    configs = xl.configs() if copies else {}
    links, _entries = xl_host.read_links(autostart_dir)
    named = {copy.name: Domain(copy.name, copy.domid, copy.memory_mib, 0, copy.flags, copy.seconds) for copy in copies}
    free = info.get("free_memory", "")
    return {
        "xen": xen,
        "xen_version": xl_host.xen_version() if xen else "",
        "free_mib": int(free) if free.isdigit() else 0,
        "virt_caps": info.get("virt_caps", "").split(),
        "domains": [asdict(copy) for copy in copies],
        "sizes": {name: _size(config) for name, config in configs.items()},
        "guests": xl_host.guests_there(named, links),
        "keeps": sorted({*(match[1] for link in links if (match := xl_host.LINK.fullmatch(link))), *xl_host.configured(config_dir)}),
        "moving": moving,
        "receiving": receiving,
        "missing": sorted(xl_host.missing(needs)),
        "deaf": _deaf(runner, peers, key_dir),
    }


def read_volumes(runner: Runner, places: units.Places, peers: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """What decides whether guests can move with their disks, and what became of such moves: volumes and groups, stored configurations,
    journals, and the peers that do not let this host fill volumes."""
    has_lvm = runner.tool("lvs")
    groups = rows(runner.read(volumes.GROUPS).out, "vg") if has_lvm else []
    journals = {}
    for path in sorted(Path(places.state_dir).glob("*.json")):
        told = units.read_journal(places, path.stem) or {}
        if told.get("kind") == units.OFFLINE:
            journals[path.stem] = {key: told.get(key) for key in ("stage", "phase", "from", "to", "step", "run")}
    return {
        "volumes": volumes.parse(rows(runner.read(volumes.REPORT).out, "lv")) if has_lvm else [],
        "groups": {row["vg_name"]: {"free_bytes": int(row["vg_free"]), "extent_bytes": int(row["vg_extent_size"])} for row in groups},
        "stored": xl_host.configured(places.config_dir),
        "held": _held(guard.HELD),
        "journals": journals,
        "resources": drbd.read(runner).data(),
        "deaf_volumes": _deaf(runner, peers, places.key_dir, trust.VOLUME_KEY, ["ready"], volume_receive.READY),
    }


def _size(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a guest as it runs decides whether it can move, and how much room it takes."""
    sizes, build = compare.sizes(config), config.get("b_info", {})
    kind = config.get("c_info", {}).get("type", "pv")
    pci = [f"{device.get('domain', 0):04x}:{device.get('bus', 0):02x}:{device.get('dev', 0):02x}.{device.get('func', 0)}"
           for device in config.get("pcidevs") or []]
    return {"type": kind, "memory_mib": sizes["memory_mib"], "maxmem_mib": sizes["maxmem_mib"], "maxvcpus": sizes["maxvcpus"],
            "pci": pci, "vnuma": bool(build.get("vnuma_nodes"))}


def _held(path: str) -> list[str]:
    """Guests that the guard kept from starting with this host."""
    try:
        return sorted(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return []


def _quiet(seconds: int) -> tuple[list[str], list[int]]:
    """Guests that leave and receivers that work, once there are none or the time is up: a receiver ends a moment after its sender."""
    end = time.monotonic() + seconds
    while True:
        busy = processes.look()
        if not any(busy) or time.monotonic() >= end:
            return busy
        time.sleep(_QUIET_LOOK_SECONDS)


def _deaf(
    runner: Runner, peers: Sequence[Mapping[str, Any]], key_dir: str, key: str = trust.KEY,
    command: Sequence[str] = ("xl", "migrate-receive"), banner: str = _BANNER,
) -> dict[str, str]:
    """Peer -> why no guest can be sent there. The other side answers with the receiver's banner, reads the end, and creates nothing."""
    found = {}
    for peer in peers:
        if not Path(key_dir, key).exists():
            continue  # Check mode on a host whose key is yet to be made.
        call = [*trust.ssh(peer["name"], peer.get("port", 22), key_dir, key), "-n", peer["address"], *command]
        answer = runner.read(call, ok=_EVERY_CODE)
        if banner not in answer.out:
            said = [line for line in answer.err.splitlines() if line.strip()][-2:]
            found[peer["name"]] = f"ssh to {peer['address']} ended with {answer.rc}: {'; '.join(said) or 'no receiver answered'}"
    return found

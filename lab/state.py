# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is known of one lab: the records in its run folder, read and written here and nowhere else."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.console import say
from lab.errors import LabError
from lab.paths import CHECKOUT, labs_root, run_folder
from lab.qemu import Disk, Machine
from lab.spec import Spec, disk_serial, host_number

# Below the range the kernel gives to outgoing connections, so that a stopped host's port stays free.
_PORTS = range(21000, 31000)
_LOCK_SECONDS = 1200.0


@dataclasses.dataclass
class Lab:
    """A lab that exists: `folder` holds spec.json and one folder a host."""

    name: str
    folder: Path
    spec: Spec
    accel: str
    image: str  # name of the store in the cache
    ssh_ports: dict[str, int]
    udp_ports: dict[str, list[int]]  # host -> own port of each data NIC
    hub_ports: list[int]  # one for each data NIC; used with three hosts and more

    @property
    def hosts(self) -> list[str]:
        return self.spec.host_names()

    def host_folder(self, host: str) -> Path:
        return self.folder / host

    def serial_log(self, host: str) -> Path:
        return self.host_folder(host) / "serial.log"

    @property
    def ssh_config(self) -> Path:
        return self.folder / "ssh_config"

    def has_hub(self) -> bool:
        return self.spec.hosts > 2 and self.spec.data_nics > 0

    def machine(self, host: str, disks: Iterable[Disk] | None = None) -> Machine:
        """What decides the host's command line, with the disks that are plugged in now or those given."""
        links = tuple((own, self._peer_port(host, index)) for index, own in enumerate(self.udp_ports[host]))
        plugged = self.disks(host) if disks is None else list(disks)
        number = host_number(self.spec, host)
        return Machine(self.spec, number, self.accel, self.ssh_ports[host], links, tuple(plugged))

    def _peer_port(self, host: str, index: int) -> int:
        if self.spec.hosts == 2:
            other = next(name for name in self.hosts if name != host)
            return self.udp_ports[other][index]
        # With more than two hosts the hub answers there; with one, nobody does.
        return self.hub_ports[index]

    def disks(self, host: str) -> list[Disk]:
        records = json.loads((self.host_folder(host) / "disks.json").read_text(encoding="utf-8"))
        return [Disk(**record) for record in records]

    def write_disks(self, host: str, disks: Iterable[Disk]) -> None:
        records = [dataclasses.asdict(disk) for disk in sorted(disks, key=lambda disk: disk.bay)]
        write_json(self.host_folder(host) / "disks.json", records)

    def snapshots(self) -> dict[str, dict[str, list[Disk]]]:
        """Snapshot -> host -> the disks that were plugged in then."""
        try:
            records = json.loads((self.folder / "snapshots.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return {
            name: {host: [Disk(**disk) for disk in disks] for host, disks in hosts.items()}
            for name, hosts in records.items()
        }

    def write_snapshots(self, snapshots: dict[str, dict[str, list[Disk]]]) -> None:
        records = {
            name: {host: [dataclasses.asdict(disk) for disk in disks] for host, disks in hosts.items()}
            for name, hosts in sorted(snapshots.items())
        }
        write_json(self.folder / "snapshots.json", records)

    def save(self) -> None:
        record = {key: value for key, value in dataclasses.asdict(self).items() if key not in ("name", "folder")}
        write_json(self.folder / "spec.json", record)


def first_disks(spec: Spec, host: str) -> list[Disk]:
    """The disks a host starts with."""
    number = host_number(spec, host)
    return [Disk(bay, f"disk{bay}.qcow2", disk_serial(number, bay)) for bay in range(1, spec.data_disks + 1)]


def write_json(path: Path, value: Any) -> None:
    """Write in one step: a reader sees the old file or the new one."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    fresh.replace(path)


def find_lab(name: str) -> Lab | None:
    folder = run_folder(name)
    try:
        record = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LabError(f"{folder / 'spec.json'}: damaged ({error}); run: python3 -m lab --name {name} down") from None
    return Lab(name=name, folder=folder, **{**record, "spec": Spec(**record["spec"])})


def need_lab(name: str) -> Lab:
    lab = find_lab(name)
    if lab is None:
        raise LabError(f"lab {name} does not exist; run: python3 -m lab --name {name} up")
    return lab


def new_lab(name: str, spec: Spec, accel: str, image: str) -> Lab:
    """Make the run folder with its ports. The caller holds the lab's lock."""
    folder = run_folder(name)
    # No two labs get one port: spec.json is written before the next one looks.
    with _held("ports", "choice of ports", 60):
        return _new_lab(name, folder, spec, accel, image)


def _new_lab(name: str, folder: Path, spec: Spec, accel: str, image: str) -> Lab:
    taken = _taken_ports()
    links = spec.data_nics
    ports = free_ports(spec.hosts + links * (spec.hosts + 1), taken)
    ssh_ports = {host: ports.pop(0) for host in spec.host_names()}
    udp_ports = {host: [ports.pop(0) for _ in range(links)] for host in spec.host_names()}
    lab = Lab(name, folder, spec, accel, image, ssh_ports, udp_ports, ports)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    for host in lab.hosts:
        lab.host_folder(host).mkdir()
        lab.write_disks(host, first_disks(spec, host))
    lab.save()
    return lab


def _taken_ports() -> set[int]:
    """The ports of all labs of this checkout, running or not."""
    taken: set[int] = set()
    for path in labs_root().glob("*/spec.json"):
        lab = find_lab(path.parent.name)
        if lab is not None:
            taken.update(lab.ssh_ports.values(), lab.hub_ports, *lab.udp_ports.values())
    return taken


def free_ports(count: int, taken: set[int], candidates: Iterable[int] = _PORTS) -> list[int]:
    """The first ports that no lab has and that are free on the loopback address for TCP and UDP alike."""
    found: list[int] = []
    for port in candidates:
        if len(found) == count:
            return found
        if port not in taken and _is_free(port):
            found.append(port)
    if len(found) == count:
        return found
    raise LabError(f"{count} free loopback ports wanted between {_PORTS.start} and {_PORTS.stop - 1}, {len(found)} found")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


@contextmanager
def locked(name: str, limit_seconds: float = _LOCK_SECONDS) -> Iterator[None]:
    """One command at a time changes a lab; waits for the other one to end, at most `limit_seconds`.

    The lock is an abstract Unix socket: it leaves no file behind and ends with its process.
    """
    with _held(f"lab {name} of {CHECKOUT}", f"lab {name}", limit_seconds):
        yield


@contextmanager
def _held(key: str, what: str, limit_seconds: float) -> Iterator[None]:
    address = "\0xenfold-lab-" + hashlib.sha256(key.encode()).hexdigest()[:32]
    end = time.monotonic() + limit_seconds
    told = time.monotonic() + 2
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as holder:
        while True:
            try:
                holder.bind(address)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            if time.monotonic() > end:
                raise LabError(f"{what}: another command has been at work on it for {limit_seconds:.0f} s")
            if told and time.monotonic() > told:
                say(f"{what}: waiting for another command that is at work on it")
                told = 0.0
            time.sleep(0.1)
        yield

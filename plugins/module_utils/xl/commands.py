# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The commands of xl that the modules use, each written down once."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Result, Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import cpus, parse
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl_cfg import disk_text, network_words

_EVERY_CODE: tuple[int, ...] = ()
TAKEN = 75
"""A return code that xl does not have."""
SCHEDULERS = {"credit": "sched-credit", "credit2": "sched-credit2"}


def set_memory(name: str, memory_mib: int) -> list[str]:
    """Ballooning. The unit is always given: the man page and the code of xl disagree about the default."""
    return ["xl", "mem-set", name, f"{memory_mib}m"]


def set_vcpus(name: str, vcpus: int) -> list[str]:
    """vCPUs that are on. `-i`: more than the host has CPUs is the definition's business, as it is at creation."""
    return ["xl", "vcpu-set", "-i", name, str(vcpus)]


def set_share(scheduler: str, name: str, weight: int, cap_percent: int) -> list[str]:
    """Weight and cap of a guest under the scheduler of its pool."""
    return ["xl", SCHEDULERS[scheduler], "-d", name, "-w", str(weight), "-c", str(cap_percent)]


def pin(name: str, allowed: str) -> list[str]:
    """CPUs that all vCPUs may use; `-` keeps those that they are better on. The return code is 0 whatever comes of it."""
    return ["xl", "vcpu-pin", name, "all", allowed, "-"]


def move_to_pool(name: str, pool: str) -> list[str]:
    """A guest into another CPU pool, where it has the pool's default weight and cap, and all its CPUs."""
    return ["xl", "cpupool-migrate", name, pool]


def attach_disk(name: str, disk: Mapping[str, Any]) -> list[str]:
    return ["xl", "block-attach", name, disk_text(disk)]


def detach_disk(name: str, vdev: str) -> list[str]:
    """Without `--force`: xl gives up after a while when the guest does not let go."""
    return ["xl", "block-detach", name, vdev]


def insert_medium(name: str, vdev: str, path: str) -> list[str]:
    return ["xl", "cd-insert", name, vdev, path]


def eject_medium(name: str, vdev: str) -> list[str]:
    return ["xl", "cd-eject", name, vdev]


def attach_network(name: str, network: Mapping[str, Any]) -> list[str]:
    """Each word by itself: of the text of an xl.cfg, xl would take all that follows a bridge for its name."""
    return ["xl", "network-attach", name, *network_words(network)]


def detach_network(name: str, devid: int) -> list[str]:
    return ["xl", "network-detach", name, str(devid)]


def update_config(domid: int, path: str) -> list[str]:
    """The configuration for the next reboot of a domain."""
    return ["xl", "config-update", str(domid), path]


def reboot(domid: int) -> list[str]:
    """Without `-F`, which is a reset for a guest that cannot be asked."""
    return ["xl", "reboot", str(domid)]


def shutdown(domid: int, seconds: int) -> list[str]:
    """`-F`: by the power button, for a guest without drivers of Xen. `-w`: xl says how the domain ended, without which one that was moved
    away meanwhile could not be told from one that was shut down."""
    return ["timeout", str(seconds), "xl", "shutdown", "-w", "-F", str(domid)]


def destroy(domid: int) -> list[str]:
    return ["xl", "destroy", str(domid)]


class Xl:
    """Asks xl and starts guests. Raises ValueError when it prints what it should not."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def domains(self) -> dict[str, parse.Domain]:
        return parse.parse_list(self._runner.read(["xl", "list"]).out)

    def configs(self) -> dict[str, dict[str, Any]]:
        return parse.parse_list_long(self._runner.read(["xl", "list", "-l"]).out)

    def uuids(self) -> dict[int, str]:
        return parse.parse_vm_list(self._runner.read(["xl", "vm-list"]).out)

    def info(self) -> dict[str, str]:
        return parse.parse_info(self._runner.read(["xl", "info"]).out)

    def free_mib(self) -> int:
        free = self.info().get("free_memory", "")
        if not free.isdigit():
            raise ValueError(f"'xl info' tells {free!r} as the host's free memory")
        return int(free)

    def topology(self) -> dict[int, int]:
        return cpus.parse_topology(self._runner.read(["xl", "info", "-n"]).out)

    def affinities(self) -> dict[str, list[str]]:
        return cpus.parse_vcpu_list(self._runner.read(["xl", "vcpu-list"]).out)

    def pools_of_domains(self) -> dict[str, str]:
        return cpus.parse_pools_of_domains(self._runner.read(["xl", "list", "-c"]).out)

    def pools(self) -> dict[str, str]:
        return cpus.parse_pools(self._runner.read(["xl", "cpupool-list"]).out)

    def try_out(self, path: str) -> str:
        """xl's own opinion of a configuration; empty when it takes it."""
        result = self._runner.read(["xl", "create", "--dryrun", "--quiet", path], ok=_EVERY_CODE)
        return "" if result.rc == 0 else parse.parse_error(result.err) or f"return code {result.rc}"

    def create(self, path: str, begun: str) -> Result:
        """Start a guest; the caller judges the return code, TAKEN when another xl is at it. begun: a file that is locked while xl is."""
        return self._runner.change(["flock", "-n", "-E", str(TAKEN), begun, "xl", "create", path], ok=_EVERY_CODE)

    def shut_down(self, domid: int, seconds: int) -> Result:
        """Tell a domain to shut down and wait until it has; the caller judges the return code, 124 when the time is up."""
        return self._runner.change(shutdown(domid, seconds), ok=_EVERY_CODE)

    def change(self, argv: list[str]) -> Result:
        """Carry out one of the changes above."""
        return self._runner.change(argv)

    def ask_guest(self, argv: list[str]) -> str:
        """Carry out a change that the guest has to agree to; what xl says when it does not, else nothing."""
        result = self._runner.change(argv, ok=_EVERY_CODE)
        return "" if result.rc == 0 else parse.parse_error(result.err) or f"return code {result.rc}"

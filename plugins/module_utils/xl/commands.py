# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The commands of xl that the modules use, each written down once."""
from __future__ import annotations

from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Result, Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import parse

_EVERY_CODE: tuple[int, ...] = ()
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

    def try_out(self, path: str) -> str:
        """xl's own opinion of a configuration; empty when it takes it."""
        result = self._runner.read(["xl", "create", "--dryrun", "--quiet", path], ok=_EVERY_CODE)
        return "" if result.rc == 0 else parse.parse_error(result.err) or f"return code {result.rc}"

    def create(self, path: str) -> Result:
        """Start a guest; the caller judges the return code."""
        return self._runner.change(["xl", "create", path], ok=_EVERY_CODE)

    def change(self, argv: list[str]) -> Result:
        """Carry out one of the changes above."""
        return self._runner.change(argv)

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks the host that this runs on for its state. Only reads. What cannot be asked is told, and keeps nobody from the rest."""
from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.block.parse import fields
from ansible_collections.xenfold.consolidation.plugins.module_utils.cpu import features
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import state as dom0
from ansible_collections.xenfold.consolidation.plugins.module_utils.host_state import parse
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import guard, live
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.host import Host as NetworkHost
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

LSBLK = ["lsblk", "--json", "-o", "NAME,KNAME,TYPE,SERIAL"]
UNITS = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "xenfold-network-*"]
# The unit that applies a change ends by itself, also after the change was confirmed.
GUARD_UNITS = (f"{guard.UNIT}.timer", f"{guard.UNIT}.service", f"{guard.RESTORE_UNIT}.service")
CPU_FEATURES, CAPACITY = "CPU features", "CPUs and memory"
_ACTIVE = ("active", "activating", "reloading", "deactivating")


class HostState:
    """The host below `root` (another than / for tests). `unasked`: what could not be asked -> why."""

    def __init__(self, runner: Runner, root: str = "/") -> None:
        self._runner = runner
        self._root = Path(root)
        self.unasked: dict[str, str] = {}

    def read(self) -> dict[str, Any]:
        """Everything: `arrays`, `bonds`, `versions`, `cpu`, `capacity`, `reboot`, `guard` and `unasked`, as the module host_info returns
        it."""
        found = {"arrays": self.arrays(), "bonds": self.bonds(), "versions": self.versions(), "cpu": self.cpu(),
                 "capacity": self.capacity(), "reboot": self.reboot(), "guard": self.guard()}
        return found | {"unasked": [{"what": what, "why": why} for what, why in sorted(self.unasked.items())]}

    def _text(self, path: str, what: str = "") -> str:
        """A file's text, "" without it. what: what is not known then, when that is no answer."""
        try:
            return (self._root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            if what:
                self.unasked[what] = f"{path}: {error.strerror}"
            return ""

    def _ask(self, argv: list[str], what: str) -> str:
        """What a command answers, "" when it does not."""
        if not self._runner.tool(argv[0]):
            self.unasked[what] = f"{argv[0]} is not installed"
            return ""
        return self._answer(argv, what)

    def _answer(self, argv: list[str], what: str) -> str:
        """What an installed command answers, "" when it does not."""
        answer = self._runner.read(argv, ok=())
        if answer.rc:
            said = (answer.err.strip() or answer.out.strip() or "nothing").splitlines()
            self.unasked[what] = f"'{' '.join(argv)}' failed with return code {answer.rc}: {said[-1]}"
            return ""
        return answer.out

    def arrays(self) -> list[dict[str, Any]]:
        """Every md array that the kernel knows, with the serials of its members. Without the driver there is none."""
        arrays = parse.parse_mdstat(self._text("/proc/mdstat"))
        if not arrays:
            return []
        serials: dict[str, str] = {}
        try:
            serials = parse.parse_serials(self._ask(LSBLK, "serials of disks"))
        except (ValueError, LookupError) as error:
            self.unasked["serials of disks"] = f"'{' '.join(LSBLK)}' printed what is no list of disks ({error!r})"
        for array in arrays:
            device = f"/dev/{array['kernel_device']}"
            told = fields(self._ask(["mdadm", "--detail", "--export", device], f"array {device}"))
            if not told.get("MD_UUID"):
                self.unasked.setdefault(f"array {device}", "mdadm told no UUID of it")
            array |= {"uuid": told.get("MD_UUID", ""), "name": told.get("MD_DEVNAME") or told.get("MD_NAME", "")}
            array["members"] = [{**member, "serial": serials.get(member["device"], "")} for member in array["members"]]
        return arrays

    def bonds(self) -> list[dict[str, Any]]:
        """Every bond that the kernel has."""
        found = []
        folder = self._root / "proc/net/bonding"
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            text = self._text(f"/proc/net/bonding/{path.name}", f"bond {path.name}")
            if text:
                state = live.parse_bond(text)
                members = [{"name": name, "link": up, "aggregated": name in state.aggregated} for name, up in sorted(state.links.items())]
                found.append({"name": path.name, **parse.parse_bonding(text), "partner": state.partner, "members": members})
        return found

    def versions(self) -> dict[str, str]:
        """What runs: `xen` (not on a host without it), `kernel`, `distribution`, `cpu_model`, `microcode`; unknown ones are left out."""
        kernel = parse.kernel_text(self._text("/proc/sys/kernel/osrelease", "kernel"), self._text("/proc/sys/kernel/version"))
        build = self._build()
        xen = self._release() + self._text("/sys/hypervisor/version/extra").strip() + (f" (build {build[:12]})" if build else "")
        found = {
            "xen": xen if self._release() and self._is_dom0() else "",
            "kernel": kernel,
            "distribution": self._text("/etc/debian_version", "distribution").strip(),
            **parse.parse_cpuinfo(self._text("/proc/cpuinfo", "microcode")),
        }
        return {key: value for key, value in found.items() if value}

    def _release(self) -> str:
        """Major and minor version of the running Xen, "" without it."""
        major, minor = (self._text(f"/sys/hypervisor/version/{part}").strip() for part in ("major", "minor"))
        return f"{major}.{minor}" if major else ""

    def cpu(self) -> dict[str, str]:
        """What guests of the types pvh and hvm are offered: `vendor` of the CPUs and `hvm`, a featureset (module_utils/cpu). {} on a host
        without Xen, and when it could not be asked."""
        if not self._is_dom0():
            return {}
        tool = f"/usr/lib/xen-{self._release()}/bin/xen-cpuid"
        if not (self._root / tool.lstrip("/")).is_file():
            self.unasked[CPU_FEATURES] = f"{tool} is not there"
            return {}
        printed = self._answer([tool, "info"], CPU_FEATURES)
        offered = features.parse_sets(printed).get("HVM Default", "")
        vendor = parse.parse_cpuinfo(self._text("/proc/cpuinfo", CPU_FEATURES)).get("cpu_vendor", "")
        if printed and not offered:
            start = " ".join(printed.split())
            self.unasked[CPU_FEATURES] = f"'{tool} info' printed no set HVM or HVM Default among the dynamic ones: {start[:400]}"
        return {"vendor": vendor, "hvm": offered} if vendor and offered else {}

    def capacity(self) -> dict[str, Any]:
        """What Xen has: `cpus`, `total_memory_mib`, `free_memory_mib`, `dom0_vcpus` and `guests` ({name, memory_mib, vcpus}). {} on a host
        without Xen, and when it could not be asked."""
        if not self._is_dom0():
            return {}
        info, rows = self._ask(["xl", "info"], CAPACITY), dom0.domains(self._ask(["xl", "list"], CAPACITY))
        numbers = {key: dom0.info_value(info, name) for key, name in (
            ("cpus", "nr_cpus"), ("total_memory_mib", "total_memory"), ("free_memory_mib", "free_memory"))}
        own = [vcpus for name, _memory, vcpus in rows if name == "Domain-0"]
        if not own or not all(value.isdigit() for value in numbers.values()):
            self.unasked.setdefault(CAPACITY, "'xl info' and 'xl list' did not tell nr_cpus, total_memory, free_memory and Domain-0")
            return {}
        guests = [{"name": name, "memory_mib": memory, "vcpus": vcpus} for name, memory, vcpus in sorted(rows) if name != "Domain-0"]
        return {**{key: int(value) for key, value in numbers.items()}, "dom0_vcpus": own[0], "guests": guests}

    def _is_dom0(self) -> bool:
        return "control_d" in self._text("/proc/xen/capabilities")

    def _build(self) -> str:
        """The build ID of the running Xen in hexadecimal digits, "" when it does not tell."""
        text = self._text("/sys/hypervisor/properties/buildid").strip().lower()
        return text if text and set(text) <= set("0123456789abcdef") and len(text) % 2 == 0 else ""

    def reboot(self) -> list[dict[str, str]]:
        """What runs in another version than the next boot brings: {item, found, wanted}. A host without Xen is the module dom0's matter."""
        found = []
        image = parse.newest(path.name for path in (self._root / "boot").glob("xen-*.gz"))
        if image and self._is_dom0():
            # Both stand in the hypervisor as it was built (xen/common/version.c); its version stays the same over Debian's updates.
            build, date = self._build(), self._text("/sys/hypervisor/compilation/compile_date").strip()
            mark = bytes.fromhex(build) or date.encode()
            if not mark:
                self.unasked["whether Xen waits for a reboot"] = "Xen tells neither its build ID nor when it was built"
            elif not self._holds(image, mark):
                running = f"build {build[:12]}" if build else f"built {date}"
                found.append({"item": "xen", "found": running, "wanted": f"/boot/{image}"})
        release = self._text("/proc/sys/kernel/osrelease").strip()
        kernel = parse.newest(path.name.removeprefix("config-") for path in (self._root / "boot").glob("config-*")
                              if "CONFIG_XEN_DOM0=y" in self._text(f"/boot/{path.name}"))
        if kernel and release and kernel != release:
            found.append({"item": "kernel", "found": release, "wanted": kernel})
        elif kernel and release:
            # An update may keep the release, and with it the file's name.
            runs, waits = self._text("/proc/sys/kernel/version").strip(), self._kernel_build(kernel)
            if runs and waits and runs not in waits:
                found.append({"item": "kernel", "found": f"{release} {runs}", "wanted": waits})
        return found

    def _kernel_build(self, release: str) -> str:
        """What the image of that kernel in /boot says of its build; "" when it cannot be read or says nothing."""
        try:
            with (self._root / "boot" / f"vmlinuz-{release}").open("rb") as image:
                return parse.kernel_build(image.read(0x200 + 0x10000))
        except OSError:
            return ""

    def _holds(self, image: str, mark: bytes) -> bool:
        """Whether the image of Xen in /boot has these bytes; True when it cannot be read, which is told."""
        try:
            return mark in gzip.decompress((self._root / "boot" / image).read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            self.unasked["whether Xen waits for a reboot"] = f"/boot/{image}: {error}"
            return True

    def guard(self) -> dict[str, Any]:
        """The guard of a network change: `step`, and what of it is still there (`units` at work, `boot_unit`)."""
        units = parse.parse_units(self._ask(UNITS, "guards of the network"))
        return {
            "step": NetworkHost(self._runner, str(self._root)).step(),
            "units": sorted(name for name, state in units.items() if name in GUARD_UNITS and state in _ACTIVE),
            "boot_unit": (self._root / guard.BOOT_UNIT.lstrip("/")).exists(),
        }

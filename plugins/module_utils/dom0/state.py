# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host says of its Xen: read from files and two commands, parsed by pure functions."""
from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.xenfold.consolidation.plugins.module_utils import packages as debian
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import render
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

GRUB_CFG = "/boot/grub/grub.cfg"
_SECURE_BOOT = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


@dataclass(frozen=True)
class HostState:
    """The present state of a host, before any change.

    missing_packages: in the wanted order; unfinished_packages: dpkg was interrupted; xen_running: this is a dom0;
    xen_words, linux_words: command lines of the running Xen and of the running kernel;
    dom0_memory_mib, dom0_vcpus: as `xl list` shows them; guests: names of the domains that run beside dom0;
    grub_cfg: text of the boot menu or ""; menu_is_old: the menu was made before the drop-in was written;
    capable_kernels: installed kernels that can be dom0; submenus_disabled, secure_boot: traps, see `obstacles`;
    xenconsoled_words: arguments of the running console daemon.
    """

    missing_packages: tuple[str, ...]
    unfinished_packages: bool
    xen_running: bool
    xen_words: tuple[str, ...]
    linux_words: tuple[str, ...]
    dom0_memory_mib: int | None
    dom0_vcpus: int | None
    guests: tuple[str, ...]
    grub_cfg: str
    menu_is_old: bool
    capable_kernels: tuple[str, ...]
    submenus_disabled: bool
    secure_boot: bool
    xenconsoled_words: tuple[str, ...]


def xen_command_line(info: str) -> tuple[str, ...]:
    """The words of `xen_commandline` in the output of `xl info`."""
    for line in info.splitlines():
        key, separator, value = line.partition(":")
        if separator and key.strip() == "xen_commandline":
            return tuple(value.split())
    return ()


def domains(listing: str) -> list[tuple[str, int, int]]:
    """(name, memory in MiB, online vCPUs) of each domain in the output of `xl list`."""
    rows = []
    for line in listing.splitlines()[1:]:
        fields = line.rsplit(maxsplit=5)
        if len(fields) == 6 and fields[1].isdigit():
            rows.append((fields[0].strip(), int(fields[2]), int(fields[3])))
    return rows


def hypervisor_lines(grub_cfg: str) -> list[list[str]]:
    """The words after the file name of each line of a boot menu that loads Xen."""
    lines = []
    for line in grub_cfg.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] in ("multiboot", "multiboot2", "xen_hypervisor", "chainloader") and "/xen" in words[1]:
            lines.append(words[2:])
    return lines


def kernel_lines(grub_cfg: str) -> list[list[str]]:
    """The words after the file name of each line of a boot menu that loads the dom0 kernel: the first module after Xen."""
    lines, wanted = [], False
    for line in grub_cfg.splitlines():
        words = line.split()
        if hypervisor_lines(line):
            wanted = True
        elif wanted and len(words) > 1 and words[0] in ("module", "module2", "xen_module"):
            lines.append(words[2:])
            wanted = False
    return lines


def _older(menu: Path, drop_in: Path) -> bool:
    """Whether the menu is from before the drop-in. File systems of /boot may keep times of whole seconds, even ones only."""
    return menu.is_file() and drop_in.is_file() and menu.stat().st_mtime + 2 < drop_in.stat().st_mtime


def boots_xen_by_default(grub_cfg: str) -> bool:
    """Whether the menu's default is the entry of the hypervisor, and such an entry exists at the top level."""
    chosen = re.search(r'^\s*set default="([^"$]+)"', grub_cfg, re.MULTILINE)
    if not chosen or not chosen.group(1).endswith("with Xen hypervisor"):
        return False
    return re.search(rf"^(menuentry|submenu) '{re.escape(chosen.group(1))}'", grub_cfg, re.MULTILINE) is not None


def obstacles(state: HostState, kernel_wanted: bool) -> list[str]:
    """Why the host would not come back as a Xen host, in plain words.

    kernel_wanted: the packages to install bring a kernel that can be dom0.
    """
    found = []
    if state.submenus_disabled:
        found.append("GRUB_DISABLE_SUBMENU is set: GRUB then makes no entry of the name that Debian boots for Xen, and the host"
                     " would start without it. Remove the setting from /etc/default/grub.")
    if state.secure_boot:
        found.append("Secure Boot is on: Debian's Xen is not signed and would not start. Turn it off in the firmware.")
    if not state.capable_kernels and not kernel_wanted:
        found.append("no installed kernel can be dom0 (CONFIG_XEN_DOM0=y is in none of /boot/config-*); Debian's cloud kernel"
                     " cannot. Install linux-image-amd64.")
    return found


def _grub_settings(paths: Iterable[Path]) -> str:
    return "\n".join(path.read_text(errors="replace") for path in paths if path.is_file())


def _process_words(pid_file: Path) -> tuple[str, ...]:
    try:
        pid = int(pid_file.read_text().strip())
        return tuple(Path(f"/proc/{pid}/cmdline").read_text().split("\0")[1:-1])
    except (OSError, ValueError):
        return ()


def read(runner: Runner, packages: Iterable[str], root: Path = Path("/")) -> HostState:
    """Ask the host. root: where its file system is mounted (for tests)."""
    missing = tuple(debian.missing(runner, packages))
    unfinished = bool(runner.read(["dpkg", "--audit"]).out.strip())
    capabilities = root / "proc/xen/capabilities"
    running = capabilities.is_file() and "control_d" in capabilities.read_text()
    words: tuple[str, ...] = ()
    rows: list[tuple[str, int, int]] = []
    if running:
        words = xen_command_line(runner.read(["xl", "info"]).out)
        rows = domains(runner.read(["xl", "list"]).out)
    dom0 = next((row for row in rows if row[0] == "Domain-0"), None)
    grub, cmdline = root / GRUB_CFG.lstrip("/"), root / "proc/cmdline"
    kernels = tuple(sorted(
        path.name.removeprefix("config-") for path in (root / "boot").glob("config-*")
        if "CONFIG_XEN_DOM0=y" in path.read_text(errors="replace")
    ))
    settings = _grub_settings([root / "etc/default/grub", *sorted((root / "etc/default/grub.d").glob("*.cfg"))])
    disabled = re.findall(r"^\s*GRUB_DISABLE_SUBMENU=[\"']?(\w+)", settings, re.MULTILINE)
    variable = root / "sys/firmware/efi/efivars" / _SECURE_BOOT
    return HostState(
        missing_packages=missing,
        unfinished_packages=unfinished,
        xen_running=running,
        xen_words=words,
        linux_words=tuple(cmdline.read_text(errors="replace").split()) if cmdline.is_file() else (),
        dom0_memory_mib=dom0[1] if dom0 else None,
        dom0_vcpus=dom0[2] if dom0 else None,
        guests=tuple(sorted(row[0] for row in rows if row[0] != "Domain-0")),
        grub_cfg=grub.read_text(errors="replace") if grub.is_file() else "",
        menu_is_old=_older(grub, root / render.GRUB_DROP_IN.lstrip("/")),
        capable_kernels=kernels,
        submenus_disabled=bool(disabled) and disabled[-1] in ("y", "true"),
        secure_boot=variable.is_file() and variable.read_bytes()[-1:] == b"\x01",
        xenconsoled_words=_process_words(root / "run/xenconsoled.pid"),
    )

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host says of its Xen: read from files and two commands, parsed by pure functions."""
from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.xenfold.consolidation.plugins.module_utils import packages as debian
from ansible_collections.xenfold.consolidation.plugins.module_utils import systemd
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import firewall, render, versions
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import lost
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

GRUB_CFG = "/boot/grub/grub.cfg"
GRUB_ENVIRONMENT = "/boot/grub/grubenv"
BOOT_MIB = {"Xen": 32, "a kernel": 128}
"""Room that new files in /boot take: Xen with its EFI image and two menus; a kernel with an initramfs of all modules, made twice."""
XEN_PACKAGES = ("xen-", "libxen")
"""How the packages of Xen's hypervisor, tools and libraries begin; those of one version depend on each other."""
SYSTEM_PACKAGE = "xen-system-amd64"
"""It depends on hypervisor and tools, and has Xen's version."""
_TIME_DAEMONS = ("ntp", "ntpsec", "openntpd")
_SECURE_BOOT = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


@dataclass(frozen=True)
class HostState:
    """The present state of a host, before any change.

    missing_packages: in the wanted order; unfinished_packages: dpkg was interrupted; xen_running: this is a dom0;
    xen_words, linux_words: command lines of the running Xen and of the running kernel;
    dom0_memory_mib, dom0_vcpus: as `xl list` shows them; guests: names of the domains that run beside dom0;
    grub_cfg: text of the boot menu or ""; menu_is_old: the menu was made before the drop-in was written;
    capable_kernels: installed kernels that can be dom0; submenus_disabled, secure_boot: traps, see `obstacles`;
    xenconsoled_words: arguments of the running console daemon; xen_packages: Xen's installed packages, each with whether it is held;
    time_daemons: other installed ones, besides systemd-timesyncd; timesyncd: whether that is installed;
    chrony_runs: it runs now and after a restart; firewall_marks: comments of the live rules, None without the table;
    firewall_linked: the unit is started with the host; client: where this run comes from;
    boot_free_mib, memory_mib, cpus: what the machine has, None where it does not say; next_entry: what the next boot alone
    starts, or ""; late_default: file and value of a GRUB_DEFAULT that is read after Debian's for Xen;
    chrony_reads_sources: chrony's configuration, where there is one, reads the folder for our sources; chrony_lost: its
    chrony.conf was, see files.lost; xen_version: of the running Xen, "" without it;
    units_are_old: systemd has not read the unit of xendomains as it stands there; iommu: whether the machine has one, None when
    nothing tells; dom0_weight: in the scheduler, None where it is nobody's business or the scheduler has none;
    weight_linked: the unit that sets it is started with the host; scheduler: of the running Xen, "" without it.
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
    xen_packages: tuple[tuple[str, bool], ...] = ()
    time_daemons: tuple[str, ...] = ()
    timesyncd: bool = False
    chrony_runs: bool = False
    firewall_marks: tuple[str | None, ...] | None = None
    firewall_linked: bool = False
    client: firewall.Client | None = None
    boot_free_mib: int | None = None
    memory_mib: int | None = None
    cpus: int | None = None
    next_entry: str = ""
    late_default: tuple[str, str] | None = None
    chrony_reads_sources: bool = True
    chrony_lost: bool = False
    xen_version: str = ""
    units_are_old: bool = False
    iommu: bool | None = None
    dom0_weight: int | None = None
    weight_linked: bool = False
    scheduler: str = ""


def info_value(info: str, name: str) -> str:
    """The value of a key in the output of `xl info`, or ""."""
    for line in info.splitlines():
        key, separator, value = line.partition(":")
        if separator and key.strip() == name:
            return value.strip()
    return ""


def xen_command_line(info: str) -> tuple[str, ...]:
    """The words of `xen_commandline` in the output of `xl info`."""
    return tuple(info_value(info, "xen_commandline").split())


def domains(listing: str) -> list[tuple[str, int, int]]:
    """(name, memory in MiB, online vCPUs) of each domain in the output of `xl list`."""
    rows = []
    for line in listing.splitlines()[1:]:
        fields = line.rsplit(maxsplit=5)
        if len(fields) == 6 and fields[1].isdigit():
            rows.append((fields[0].strip(), int(fields[2]), int(fields[3])))
    return rows


def dom0_weight(listing: str) -> int | None:
    """dom0's weight in the output of `xl sched-credit2 -d Domain-0`."""
    found = re.search(r"^Domain-0\s+0\s+(\d+)", listing, re.MULTILINE)
    return int(found[1]) if found else None


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


def menu_time(root: Path = Path("/")) -> int | None:
    """When the boot menu was made, in ns by the host's clock; None without one."""
    menu = root / GRUB_CFG.lstrip("/")
    return menu.stat().st_mtime_ns if menu.is_file() else None


def xen_entries(grub_cfg: str) -> set[str]:
    """Titles and ids of the entries of a boot menu that load Xen; those inside of submenus with `submenu>` before them.

    Judged by what an entry loads: its title is in the language of whoever ran update-grub last.
    """
    found: set[str] = set()
    submenu: list[str] = []
    entry: list[str] = []
    for line in grub_cfg.splitlines():
        if re.match(r"\s*(menuentry|submenu)\s", line):
            names = _names(line)
            if line.lstrip().startswith("submenu"):
                submenu, entry = names, []
            else:
                entry = [f"{outer}>{name}" for outer in submenu for name in names] if submenu and line[:1].isspace() else names
        elif line.startswith("}"):
            submenu, entry = [], []
        elif hypervisor_lines(line):
            found.update(entry)
    return found


def _names(line: str) -> list[str]:
    """Title and id of a line that begins an entry or submenu."""
    try:
        words = shlex.split(line)
    except ValueError:
        return []
    return [*words[1:2], *(word for before, word in itertools.pairwise(words) if before == "$menuentry_id_option")]


def boots_xen_by_default(grub_cfg: str) -> bool:
    """Whether the menu's default is, by its title, an entry at the top level that loads the hypervisor."""
    chosen = re.search(r'^\s*set default="([^"$]+)"', grub_cfg, re.MULTILINE)
    return chosen is not None and ">" not in chosen.group(1) and chosen.group(1) in xen_entries(grub_cfg)


def next_entry(environment: str) -> str:
    """What `grub-reboot` set for the next boot alone in the text of GRUB's environment block, or ""."""
    found = re.search(r"^next_entry=(.+)$", environment, re.MULTILINE)
    return found.group(1).strip() if found else ""


def late_default(files: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """Name and value of the last GRUB_DEFAULT among the drop-ins (name, text) that are read after Debian's xen.cfg, which sets it."""
    found = None
    for name, text in files:
        values = re.findall(r"^\s*(?:export\s+)?GRUB_DEFAULT=(?:[\"']([^\"'\n]*)|([^\"'\n]*))", text, re.MULTILINE)
        if name > "xen.cfg" and values:
            quoted, plain = values[-1]
            found = (name, (quoted or re.sub(r"(^|\s)#.*", "", plain)).strip())
    return found


def reads_sources(texts: Iterable[str]) -> bool:
    """Whether one of chrony's configuration files reads the folder of render.CHRONY_SOURCES (sourcedir in chrony.conf(5))."""
    folder = os.path.dirname(render.CHRONY_SOURCES)
    lines = (line.split() for text in texts for line in text.splitlines())
    return any(len(words) == 2 and words[0].lower() == "sourcedir" and words[1].rstrip("/") == folder for words in lines)


def _chrony(folder: Path) -> tuple[bool, bool]:
    """Whether /etc/chrony of a host reads our sources, as the package's configuration does, which comes where there is none; and whether
    that is to come since what is there was lost."""
    main = folder / "chrony.conf"
    gone = main.is_file() and lost(_text(main))
    reads = gone or not main.is_file() or reads_sources(map(_text, [main, *sorted((folder / "conf.d").glob("*.conf"))]))
    return reads, gone


def obstacles(state: HostState, kernel_wanted: bool, settings: render.Settings | None = None) -> list[str]:
    """Why the host would not come back as a Xen host, or not as asked, in plain words.

    kernel_wanted: the packages to install bring a kernel that can be dom0; settings: None looks at the host alone.
    """
    found = _boot_obstacles(state)
    new = [what for what, comes in (("Xen", SYSTEM_PACKAGE in state.missing_packages), ("a kernel", kernel_wanted)) if comes]
    room = sum(BOOT_MIB[what] for what in new)
    if state.boot_free_mib is not None and state.boot_free_mib < room:
        found.append(f"/boot has {state.boot_free_mib} MiB of room, {room} MiB are needed for {' and '.join(new)}. Remove old kernels"
                     " (apt-get autoremove --purge) or enlarge it.")
    if settings:
        found += _setting_obstacles(state, settings)
    if state.submenus_disabled:
        found.append("GRUB_DISABLE_SUBMENU is set: GRUB then makes no entry of the name that Debian boots for Xen, and the host"
                     " would start without it. Remove the setting from /etc/default/grub.")
    if state.secure_boot:
        found.append("Secure Boot is on: Debian's Xen is not signed and would not start. Turn it off in the firmware.")
    if not state.capable_kernels and not kernel_wanted:
        found.append("no installed kernel can be dom0 (CONFIG_XEN_DOM0=y is in none of /boot/config-*); Debian's cloud kernel"
                     " cannot. Install linux-image-amd64.")
    return found


def _boot_obstacles(state: HostState) -> list[str]:
    """What would make the next boot start something else than Xen although the menu is right."""
    found = []
    if state.late_default and (state.late_default[1] == "saved" or "xen" not in state.late_default[1].lower()):
        name, value = state.late_default
        found.append(f"GRUB_DEFAULT={value} in /etc/default/grub.d/{name} is read after Debian's xen.cfg and takes the place of Xen's"
                     " entry: the host would start something else. Remove it there; in /etc/default/grub it does no harm.")
    if state.next_entry and state.next_entry not in xen_entries(state.grub_cfg):
        found.append(f"the next boot is set to '{state.next_entry}' (next_entry in {GRUB_ENVIRONMENT}, by grub-reboot), which does not"
                     f" start Xen. Take it back: grub-editenv {GRUB_ENVIRONMENT} unset next_entry")
    return found


def _setting_obstacles(state: HostState, settings: render.Settings) -> list[str]:
    found = []
    for key, value, there, unit in (("memory_mib", settings.memory_mib, state.memory_mib, " MiB"),
                                    ("vcpus", settings.vcpus, state.cpus, " CPUs")):
        if there is not None and value > there:
            found.append(f"{key}: value {value}, allowed at most {there}: this machine has {there}{unit}.")
    if settings.weight is not None and state.scheduler not in ("", "credit2"):
        found.append(f"weight: value {settings.weight}, allowed with Xen's scheduler credit2; here {state.scheduler} runs.")
    demanded = [word for word in settings.xen_options if word.startswith("iommu=") and {"required", "force"} & set(word[6:].split(","))]
    if demanded and state.iommu is False:
        found.append(f"xen_options: value {demanded[-1]}, allowed on a machine with an IOMMU: this one has none, or its firmware hides it"
                     " (VT-d, AMD-Vi). Xen would not start.")
    if settings.time == "chrony" and state.time_daemons:
        found.append(f"time: value chrony, allowed none while {', '.join(state.time_daemons)} keeps the time here: apt would remove it for"
                     " chrony. Remove it yourself, or leave the time to it.")
    if settings.time == "chrony" and settings.ntp_servers and not state.chrony_reads_sources:
        found.append(f"ntp_servers: value {', '.join(settings.ntp_servers)}, allowed none while {render.CHRONY_CONF} has no line 'sourcedir"
                     f" {os.path.dirname(render.CHRONY_SOURCES)}': chrony would never read them. Add the line, or leave the servers out.")
    return found + firewall.obstacles(settings.firewall, state.client)


def _packages_of_xen(listing: str) -> tuple[tuple[str, bool], ...]:
    """Xen's installed packages by what packages.states tells, each with whether it is held."""
    rows = [line.split() for line in listing.splitlines()]
    return tuple(sorted(
        (row[0], row[1].startswith("h")) for row in rows
        if len(row) >= 2 and row[1].startswith(("ii", "hi")) and row[0].startswith(XEN_PACKAGES)
    ))


def _memory_mib(meminfo: Path) -> int | None:
    found = re.search(r"^MemTotal:\s*(\d+) kB", meminfo.read_text(errors="replace"), re.MULTILINE) if meminfo.is_file() else None
    return int(found[1]) // 1024 if found else None


def _cpus(present: Path) -> int | None:
    """The number of CPUs in a list of the kernel such as 0-3,8."""
    if not present.is_file():
        return None
    spans = [span.partition("-") for span in present.read_text().strip().split(",")]
    return sum(int(last or first) - int(first) + 1 for first, _, last in spans)


def _whole(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def _grub_settings(paths: Iterable[Path]) -> str:
    return "\n".join(path.read_text(errors="replace") for path in paths if path.is_file())


def _process_words(pid_file: Path) -> tuple[str, ...]:
    try:
        pid = int(pid_file.read_text().strip())
        return tuple(Path(f"/proc/{pid}/cmdline").read_text().split("\0")[1:-1])
    except (OSError, ValueError):
        return ()


def read(runner: Runner, packages: Iterable[str], root: Path = Path("/"), settings: render.Settings | None = None) -> HostState:
    """Ask the host. root: where its file system is mounted (for tests); settings: what they do not ask for is not looked at."""
    listing = debian.states(runner)
    present = debian.installed(listing)
    missing = tuple(name for name in packages if name not in present)
    unfinished = debian.interrupted(listing, root)
    capabilities = root / "proc/xen/capabilities"
    running = capabilities.is_file() and "control_d" in capabilities.read_text()
    info = ""
    words: tuple[str, ...] = ()
    rows: list[tuple[str, int, int]] = []
    if running:
        info = runner.read(["xl", "info"]).out
        words = xen_command_line(info)
        rows = domains(runner.read(["xl", "list"]).out)
    dom0 = next((row for row in rows if row[0] == "Domain-0"), None)
    grub, cmdline = root / GRUB_CFG.lstrip("/"), root / "proc/cmdline"
    kernels = tuple(sorted(
        path.name.removeprefix("config-") for path in (root / "boot").glob("config-*")
        if "CONFIG_XEN_DOM0=y" in path.read_text(errors="replace")
    ))
    with_chrony = settings is not None and settings.time == "chrony"
    reads, gone = _chrony(root / "etc/chrony") if with_chrony else (True, False)
    with_firewall = settings is not None and settings.firewall.enabled
    weight_linked = os.path.lexists(root / render.WEIGHT_LINK.lstrip("/"))
    weight_there = weight_linked or (root / render.WEIGHT_FILE.lstrip("/")).is_file()
    with_weight = settings is not None and (settings.weight is not None or weight_there) and info_value(info, "xen_scheduler") == "credit2"
    drop_ins = sorted((root / "etc/default/grub.d").glob("*.cfg"))
    disabled = re.findall(
        r"^\s*GRUB_DISABLE_SUBMENU=[\"']?(\w+)", _grub_settings([root / "etc/default/grub", *drop_ins]), re.MULTILINE)
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
        grub_cfg=_text(grub),
        menu_is_old=_older(grub, root / render.GRUB_DROP_IN.lstrip("/")),
        capable_kernels=kernels,
        submenus_disabled=bool(disabled) and disabled[-1] in ("y", "true"),
        secure_boot=variable.is_file() and variable.read_bytes()[-1:] == b"\x01",
        xenconsoled_words=_process_words(root / "run/xenconsoled.pid"),
        xen_packages=_packages_of_xen(listing),
        time_daemons=tuple(name for name in _TIME_DAEMONS if name in present),
        timesyncd="systemd-timesyncd" in present,
        chrony_runs=with_chrony and "chrony" in present and _runs(runner, "chrony.service"),
        firewall_marks=_firewall_marks(runner) if with_firewall and "nftables" in present else None,
        firewall_linked=os.path.lexists(root / firewall.UNIT_LINK.lstrip("/")),
        client=firewall.find_client(root / "proc", os.getpid()) if with_firewall else None,
        boot_free_mib=_free_mib(root / "boot"),
        # dom0 sees its own memory and CPUs alone.
        memory_mib=_whole(info_value(info, "total_memory")) if running else _memory_mib(root / "proc/meminfo"),
        cpus=_whole(info_value(info, "nr_cpus")) if running else _cpus(root / "sys/devices/system/cpu/present"),
        next_entry=next_entry(_text(root / GRUB_ENVIRONMENT.lstrip("/"))),
        late_default=late_default((path.name, _text(path)) for path in drop_ins),
        chrony_reads_sources=reads,
        chrony_lost=gone,
        xen_version=info_value(info, "xen_version"),
        units_are_old=(root / render.XENDOMAINS_UNIT.lstrip("/")).is_file() and _units_are_old(runner),
        dom0_weight=dom0_weight(runner.read(["xl", "sched-credit2", "-d", "Domain-0"]).out) if running and with_weight else None,
        weight_linked=weight_linked,
        scheduler=info_value(info, "xen_scheduler"),
        iommu=_iommu(info, words, root / "sys/firmware/acpi/tables"),
    )


def coming_xen(runner: Runner, host: HostState, fresh: bool, root: Path = Path("/")) -> str:
    """The version of Xen that the next boot brings: what apt would install, or the newest that is there; "" when nothing tells.

    fresh: let apt look for what there is now; without, and on a host that never did, it may not know.
    """
    if SYSTEM_PACKAGE not in host.missing_packages:
        return versions.newest_image(path.name for path in (root / "boot").glob("xen-*"))
    if fresh:
        runner.change([*debian.ENVIRONMENT, "apt-get", "-q", "-y", "update"])
    return versions.candidate(runner.read(["apt-cache", "policy", SYSTEM_PACKAGE]).out)


def _free_mib(folder: Path) -> int | None:
    if not folder.is_dir():
        return None
    size = os.statvfs(folder)
    return size.f_bavail * size.f_frsize // 2**20


def _runs(runner: Runner, unit: str) -> bool:
    """Whether a unit runs now and is started with the host."""
    return systemd.show(runner, "ActiveState,UnitFileState", unit)[0] == {"ActiveState": "active", "UnitFileState": "enabled"}


def _iommu(info: str, words: Iterable[str], tables: Path) -> bool | None:
    """Whether Xen uses an IOMMU (`xl info`), or the firmware's tables name one where Xen does not run. Xen that was told to use none says
    nothing of the machine."""
    if any(word.startswith("iommu=") and {"off", "no", "false", "0", "disable"} & set(word[6:].split(",")) for word in words):
        return None
    if info:
        found = info_value(info, "virt_caps").split()
        return any(word.endswith("_directio") for word in found) if found else None
    return any((tables / name).exists() for name in ("DMAR", "IVRS")) if tables.is_dir() else None


def _units_are_old(runner: Runner) -> bool:
    return systemd.show(runner, "NeedDaemonReload", "xendomains.service")[0].get("NeedDaemonReload") == "yes"


def _firewall_marks(runner: Runner) -> tuple[str | None, ...] | None:
    answer = runner.read(["nft", "-j", "list", "table", "inet", firewall.TABLE], ok=())
    return firewall.live_marks(answer.out) if answer.rc == 0 else None

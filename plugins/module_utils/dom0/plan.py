# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From settings and state to the actions that make a host a Xen host, and to what only a reboot can change."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import firewall, render, state
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, differing


@dataclass(frozen=True)
class Steps:
    """What is to be done, in this order; empty parts are skipped.

    replaced: the package that apt removes for chrony; hold: names of Xen's packages to hold, release: to release; hold_new: those that
    come with this run are held too; start_chrony, chrony_files: see render.chrony_sources; mend_chrony: the
    package's chrony.conf takes the place of one that was lost; firewall_files: all of them when the filter is
    to be loaded, however few differ; remove_firewall: it is there and not asked for; guest_logs: as asked for; reload_units: systemd has
    not read the unit of xendomains as it stands there; weight_files, enable_weight: the unit that gives dom0 its weight; set_weight: the
    one that it is given now; remove_weight: the unit is there and not asked for.
    """

    finish_packages: bool
    before_packages: list[WantedFile]
    packages: list[str]
    after_packages: list[WantedFile]
    update_grub: bool
    restart_xenconsoled: bool
    replaced: str = ""
    hold: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
    hold_new: bool = False
    start_chrony: bool = False
    chrony_files: tuple[WantedFile, ...] = ()
    mend_chrony: bool = False
    firewall_files: tuple[WantedFile, ...] = ()
    firewall_why: str = ""
    remove_firewall: bool = False
    guest_logs: bool = True
    reload_units: bool = False
    weight_files: tuple[WantedFile, ...] = ()
    enable_weight: bool = False
    set_weight: int | None = None
    remove_weight: bool = False

    def files(self) -> list[WantedFile]:
        """All files that are written."""
        return [*self.before_packages, *self.after_packages, *self.chrony_files, *self.firewall_files, *self.weight_files]

    def actions(self) -> list[Action]:
        """The steps as the actions that a person is shown."""
        listed = []
        if self.finish_packages:
            listed.append(Action("finish", "packages", "an interrupted installation"))
        listed += [Action("write", f"file {file.path}") for file in self.before_packages]
        listed += [
            Action("install", f"package {name}", f"apt removes {self.replaced} for it" if name == "chrony" and self.replaced else "")
            for name in self.packages
        ]
        listed += [Action("write", f"file {file.path}") for file in self.after_packages]
        if self.reload_units:
            listed.append(Action("reload", "systemd", "so that xendomains may wait for guests; nothing is restarted"))
        if self.update_grub:
            listed.append(Action("update", "boot menu", "so that the host starts Xen with these settings"))
        if self.restart_xenconsoled:
            why = "so that guests' consoles are logged" if self.guest_logs else "so that guests' consoles are not logged"
            listed.append(Action("restart", "xenconsoled", f"{why}; guests keep running"))
        if self.hold or self.hold_new:
            names = [*self.hold, *(["those of Xen that come now"] if self.hold_new else [])]
            listed.append(Action("hold", "packages", ", ".join(names)))
        if self.release:
            listed.append(Action("release", "packages", ", ".join(self.release)))
        if self.mend_chrony:
            listed.append(Action("write", f"file {render.CHRONY_CONF}", "as its package has it, since it is empty"))
        if self.start_chrony:
            listed.append(Action("start", "service chrony", "now and with the host"))
        if self.chrony_files:
            listed.append(Action("load", f"file {render.CHRONY_SOURCES}", "into the running chronyd"))
        if self.firewall_files:
            listed.append(Action("load", "packet filter of dom0", self.firewall_why))
        listed += [Action("write", f"file {file.path}") for file in self.weight_files]
        if self.enable_weight:
            listed.append(Action("start", f"service {render.WEIGHT_UNIT}", "with the host"))
        if self.remove_weight:
            listed.append(Action("remove", f"service {render.WEIGHT_UNIT}", "no weight is asked for"))
        if self.set_weight is not None:
            listed.append(Action("set", "weight of dom0", f"{self.set_weight}"))
        if self.remove_firewall:
            listed.append(Action("remove", "packet filter of dom0", "it is not asked for"))
        return listed


def menu_is_right(grub_cfg: str, settings: render.Settings) -> bool:
    """Whether the boot menu starts Xen by default and has the wanted words.

    The words stand there as the drop-in gives them, side by side and in order: every entry has Xen's (recovery entries too), the
    default one, which is the first, has the kernel's. Own keys have no other value anywhere. Further words are not ours: they come
    from /etc/default/grub.
    """
    wanted = render.xen_words(settings)
    lines, kernels = state.hypervisor_lines(grub_cfg), state.kernel_lines(grub_cfg)
    return (
        bool(lines) and state.boots_xen_by_default(grub_cfg)
        and all(_within(wanted, words) and not _strange(words, wanted) for words in lines)
        and (not settings.linux_options or any(_within(settings.linux_options, words) for words in kernels[:1]))
    )


def _within(part: Sequence[str], words: Sequence[str]) -> bool:
    """Whether the words of `part` stand in `words` side by side."""
    return any(list(words[start:start + len(part)]) == list(part) for start in range(len(words) - len(part) + 1))


def _strange(words: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """The words of an own key (dom0_mem and so on) that are not asked for."""
    return [word for word in dict.fromkeys(words) if word.split("=")[0] in render.OWN_KEYS and word not in wanted]


def steps(settings: render.Settings, host: state.HostState, texts: Mapping[str, str | None]) -> Steps:
    """The steps from the present state to the settings. texts: present content of every file that the role owns."""
    drop_in = differing([render.grub_drop_in(settings, texts.get(render.GRUB_DROP_IN))], texts)
    after = differing(render.configuration(settings), texts)
    # The packages' own scripts update the boot menu with the drop-in that is already there; doing it twice costs a minute.
    hypervisor_comes = state.SYSTEM_PACKAGE in host.missing_packages
    chrony = render.chrony_sources(settings, texts.get(render.CHRONY_SOURCES) is not None)
    filter_files, filter_why = _firewall(settings.firewall, host, texts)
    weight_files = differing(render.weight_unit(settings), texts)
    weight_there = host.weight_linked or texts.get(render.WEIGHT_FILE) is not None
    weight = render.DEFAULT_WEIGHT if settings.weight is None else settings.weight
    filter_there = host.firewall_linked or any(texts.get(path) is not None for path in (firewall.RULES, firewall.UNIT_FILE))
    return Steps(
        finish_packages=host.unfinished_packages,
        before_packages=drop_in,
        packages=list(host.missing_packages),
        after_packages=after,
        # Judged by the menu itself too: a run that was cut off between the drop-in and the menu is finished by the next. Words that
        # are gone from the drop-in show in its age alone.
        update_grub=not hypervisor_comes and (bool(drop_in) or host.menu_is_old or not menu_is_right(host.grub_cfg, settings)),
        restart_xenconsoled=host.xen_running and not _logs_as_asked(settings, host),
        replaced="systemd-timesyncd" if "chrony" in host.missing_packages and host.timesyncd else "",
        hold=tuple(name for name, held in host.xen_packages if settings.hold and not held),
        release=tuple(name for name, held in host.xen_packages if settings.hold is False and held),
        # Whatever is installed or finished may bring Xen's libraries along.
        hold_new=bool(settings.hold) and bool(host.missing_packages or host.unfinished_packages),
        # One that runs has read the empty file, and is stopped first.
        start_chrony=settings.time == "chrony" and (not host.chrony_runs or host.chrony_lost),
        mend_chrony=host.chrony_lost,
        chrony_files=tuple(chrony) if differing(chrony, texts) else (),
        firewall_files=tuple(filter_files),
        firewall_why=filter_why,
        remove_firewall=not settings.firewall.enabled and filter_there,
        guest_logs=settings.guest_logs,
        weight_files=tuple(weight_files),
        enable_weight=settings.weight is not None and (bool(weight_files) or not host.weight_linked),
        set_weight=weight if host.dom0_weight not in (None, weight) else None,
        remove_weight=settings.weight is None and weight_there,
        reload_units=host.units_are_old or any(file.path == render.XENDOMAINS_UNIT for file in after),
    )


def is_of_xen(package: str) -> bool:
    """Whether a package is one of those that are held: Xen's hypervisor, tools and libraries."""
    return package.startswith(state.XEN_PACKAGES)


def _logs_as_asked(settings: render.Settings, host: state.HostState) -> bool:
    if settings.guest_logs:
        return set(render.XENCONSOLED_WORDS) <= set(host.xenconsoled_words)
    return not any(word in ("--log=guest", "--log=all") for word in host.xenconsoled_words)


def _firewall(wanted: firewall.Firewall, host: state.HostState, texts: Mapping[str, str | None]) -> tuple[list[WantedFile], str]:
    """The files of the packet filter when it is to be loaded, and why; none when the live one is as asked for."""
    files = firewall.files(wanted)
    if not files:
        return [], ""
    if host.firewall_marks is None:
        return files, "there is none yet"
    if host.firewall_marks != firewall.rule_marks(wanted):
        return files, "the live rules are not those that are asked for"
    if differing(files, texts):
        return files, "its files are not those that are asked for"
    return (files, "it is not loaded when the host starts") if not host.firewall_linked else ([], "")


def reboot_reasons(settings: render.Settings, host: state.HostState, drop_in: str | None) -> list[str]:
    """What is asked for but does not hold in the running system, and what holds there no longer asked for; only a reboot changes it.

    drop_in: the drop-in that is there. A word that runs counts as not asked for when it is of an own key, or when this drop-in or
    one before it gave it and the next boot does not. Other words are not ours: who starts Xen may add what he likes.
    """
    if not host.xen_running:
        return ["Xen does not run on this host"]
    now = render.words_in(drop_in)
    next_ = render.words_of(settings, now)
    xen_menu, linux_menu = ((lines[0] if lines and not host.menu_is_old else []) for lines in (
        state.hypervisor_lines(host.grub_cfg), state.kernel_lines(host.grub_cfg)))
    old_xen = [*_strange(host.xen_words, next_.xen), *_left(host.xen_words, next_.earlier_xen, xen_menu, now.xen)]
    old_linux = _left(host.linux_words, next_.earlier_linux, linux_menu, now.linux)
    reasons = []
    for name, running, wanted, old in (
        ("Xen", host.xen_words, next_.xen, old_xen), ("the dom0 kernel", host.linux_words, next_.linux, old_linux),
    ):
        reasons += [f"{name} was started without {word}" for word in dict.fromkeys(wanted) if word not in running]
        reasons += [f"{name} was started with {word}, which is not asked for" for word in old]
    if host.dom0_vcpus is not None and host.dom0_vcpus != settings.vcpus:
        reasons.append(f"dom0 has {host.dom0_vcpus} vCPUs instead of {settings.vcpus}")
    # xl shows what dom0 holds now: a driver may keep a few pages back.
    if host.dom0_memory_mib is not None and abs(host.dom0_memory_mib - settings.memory_mib) > 16:
        reasons.append(f"dom0 has {host.dom0_memory_mib} MiB of memory instead of {settings.memory_mib}")
    return reasons


def _left(running: Sequence[str], earlier: Sequence[str], menu: Sequence[str], now: Sequence[str]) -> list[str]:
    """The earlier words that still run and that the next boot does not bring: the menu has them not, or from the drop-in alone."""
    return [word for word in earlier if word in running and (word not in menu or word in now)]

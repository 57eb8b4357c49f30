# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From settings and state to the actions that make a host a Xen host, and to what only a reboot can change."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import render, state
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, differing


@dataclass(frozen=True)
class Steps:
    """What is to be done, in this order; empty parts are skipped."""

    finish_packages: bool
    before_packages: list[WantedFile]
    packages: list[str]
    after_packages: list[WantedFile]
    update_grub: bool
    restart_xenconsoled: bool

    def actions(self) -> list[Action]:
        """The steps as the actions that a person is shown."""
        listed = []
        if self.finish_packages:
            listed.append(Action("finish", "packages", "an interrupted installation"))
        listed += [Action("write", f"file {file.path}") for file in self.before_packages]
        listed += [Action("install", f"package {name}") for name in self.packages]
        listed += [Action("write", f"file {file.path}") for file in self.after_packages]
        if self.update_grub:
            listed.append(Action("update", "boot menu", "so that the host starts Xen with these settings"))
        if self.restart_xenconsoled:
            listed.append(Action("restart", "xenconsoled", "so that guests' consoles are logged; guests keep running"))
        return listed


def menu_is_right(grub_cfg: str, settings: render.Settings) -> bool:
    """Whether the boot menu starts Xen by default and every Xen entry has the wanted words.

    Judged by the menu itself, not by whether the drop-in was written just now: a run that was cut off between the two is
    finished by the next.
    """
    wanted = render.xen_words(settings)
    lines = state.hypervisor_lines(grub_cfg)
    return bool(lines) and state.boots_xen_by_default(grub_cfg) and all(
        set(wanted) <= set(words) and not _stale(words, wanted) for words in lines
    )


def _stale(words: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether an own key stands there with another value than wanted."""
    keys = {word.split("=")[0] for word in wanted}
    return any(word.split("=")[0] in keys and word not in wanted for word in words if word.startswith("dom0_"))


def steps(settings: render.Settings, host: state.HostState, texts: Mapping[str, str | None]) -> Steps:
    """The steps from the present state to the settings. texts: present content of every file that the role owns."""
    drop_in = differing([render.grub_drop_in(settings)], texts)
    after = differing(render.configuration(settings), texts)
    # The packages' own scripts update the boot menu with the drop-in that is already there; doing it twice costs a minute.
    hypervisor_comes = "xen-system-amd64" in host.missing_packages
    return Steps(
        finish_packages=host.unfinished_packages,
        before_packages=drop_in,
        packages=list(host.missing_packages),
        after_packages=after,
        update_grub=not hypervisor_comes and (bool(drop_in) or not menu_is_right(host.grub_cfg, settings)),
        restart_xenconsoled=host.xen_running and not set(render.XENCONSOLED_WORDS) <= set(host.xenconsoled_words),
    )


def reboot_reasons(settings: render.Settings, host: state.HostState) -> list[str]:
    """What is asked for but does not hold in the running system; only a reboot changes it."""
    if not host.xen_running:
        return ["Xen does not run on this host"]
    reasons = [f"Xen was started without {word}" for word in render.xen_words(settings) if word not in host.xen_words]
    if host.dom0_vcpus is not None and host.dom0_vcpus != settings.vcpus:
        reasons.append(f"dom0 has {host.dom0_vcpus} vCPUs instead of {settings.vcpus}")
    # xl shows what dom0 holds now: a driver may keep a few pages back.
    if host.dom0_memory_mib is not None and abs(host.dom0_memory_mib - settings.memory_mib) > 16:
        reasons.append(f"dom0 has {host.dom0_memory_mib} MiB of memory instead of {settings.memory_mib}")
    return reasons

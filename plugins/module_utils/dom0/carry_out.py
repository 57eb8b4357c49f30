# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carries out the steps of a plan on the host."""
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.xenfold.consolidation.plugins.module_utils import packages as debian
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import firewall, plan, render, state
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, write_atomically
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner


def apply(runner: Runner, steps: plan.Steps) -> None:
    """Carry out the steps in their order."""
    if steps.finish_packages:
        debian.finish(runner)
    for file in steps.before_packages:
        write_atomically(file)
    if steps.packages:
        debian.install(runner, steps.packages)
    for file in steps.after_packages:
        write_atomically(file)
    os.makedirs(render.CONSOLE_LOGS, exist_ok=True)
    if steps.reload_units:
        runner.change(["systemctl", "daemon-reload"])
    if steps.update_grub:
        runner.change(["update-grub"])
    if steps.restart_xenconsoled:
        runner.change(["start-stop-daemon", "--stop", "--oknodo", "--retry=TERM/30/KILL/5", "--pidfile", "/run/xenconsoled.pid",
                       "--name", "xenconsoled"])
        # The script starts what does not run and leaves the rest alone; xendomains is another service and is not touched.
        # Redirected to systemctl it would do nothing: the unit is active already.
        runner.change(["env", "SYSTEMCTL_SKIP_REDIRECT=1", "/etc/init.d/xen", "start"])
    _holds(runner, steps)
    _chrony(runner, steps)
    if steps.firewall_files:
        _load_firewall(runner, steps.firewall_files)
    _weight(runner, steps)
    if steps.remove_firewall:
        _remove_firewall(runner)


def date_drop_in(root: Path = Path("/")) -> None:
    """Give the drop-in the time of the boot menu that was made from it.

    The clock may have stepped back in between: the menu would count as older than the drop-in until the clock has caught up.
    """
    menu = state.menu_time(root)
    drop_in = root / render.GRUB_DROP_IN.lstrip("/")
    if menu is not None and drop_in.is_file():
        os.utime(drop_in, ns=(menu, menu))


def _holds(runner: Runner, steps: plan.Steps) -> None:
    """Hold and release; what a package brought along is only known now."""
    names = set(steps.hold)
    if steps.hold_new:
        names |= {name for name in debian.installed(debian.states(runner)) if plan.is_of_xen(name)}
    selections = [f"{name} hold\n" for name in sorted(names)] + [f"{name} install\n" for name in steps.release]
    if selections:
        runner.change(["dpkg", "--set-selections"], data="".join(selections))


def _chrony(runner: Runner, steps: plan.Steps) -> None:
    """Sources first, so that a daemon that starts reads them; the copy last, so that a run that was cut off is finished."""
    if steps.mend_chrony:
        # A run that is cut off after this leaves a daemon that does not run, which the next one starts.
        runner.change(["systemctl", "stop", "chrony.service"], ok=())
        write_atomically(WantedFile(render.CHRONY_CONF, Path(render.CHRONY_DEFAULT).read_text()))
    if steps.chrony_files:
        write_atomically(steps.chrony_files[0])
    if steps.start_chrony:
        runner.change(["systemctl", "enable", "--now", "chrony.service"])
    if steps.chrony_files:
        runner.change(["chronyc", "reload", "sources"])
        write_atomically(steps.chrony_files[1])


def _weight(runner: Runner, steps: plan.Steps) -> None:
    """A weight that is taken back is given back first: without the unit nobody would know that it was ours."""
    for file in steps.weight_files:
        write_atomically(file)
    if steps.enable_weight:
        runner.change(["systemctl", "enable", render.WEIGHT_UNIT])
    if steps.set_weight is not None:
        runner.change(["xl", "sched-credit2", "-d", "Domain-0", "-w", str(steps.set_weight)])
    if steps.remove_weight:
        runner.change(["systemctl", "disable", render.WEIGHT_UNIT], ok=())
        for path in (render.WEIGHT_LINK, render.WEIGHT_FILE):
            if os.path.lexists(path):
                os.unlink(path)
        runner.change(["systemctl", "daemon-reload"])


def _load_firewall(runner: Runner, files: Sequence[WantedFile]) -> None:
    """Let nft check the rules before they are written, then load them in one exchange, now and with the host."""
    runner.read(["nft", "-c", "-f", "-"], data=files[0].content)
    for file in files:
        write_atomically(file)
    runner.change(["systemctl", "daemon-reload"])
    runner.change(["systemctl", "enable", firewall.UNIT])
    runner.change(["systemctl", "restart", firewall.UNIT])


def _remove_firewall(runner: Runner) -> None:
    """The rules' file goes last: while it is there the next run knows that there is something to remove."""
    runner.change(["systemctl", "disable", "--now", firewall.UNIT], ok=())
    if runner.tool("nft"):
        runner.change(["nft", "-f", "-"], data=firewall.REMOVAL)
    for path in (firewall.UNIT_LINK, firewall.UNIT_FILE, firewall.RULES):
        if os.path.lexists(path):
            os.unlink(path)
    runner.change(["systemctl", "daemon-reload"])

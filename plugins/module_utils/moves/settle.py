# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carries out verdicts on what moves left, on one host. Each step looks once more at the domain it is about, and does it by number."""
from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import listing, units
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.listing import Copy
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import host as xl_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.commands import destroy

VERBS = ("destroy", "rename", "resume")
_XL_RESUMES_SINCE = (4, 20)
_DETAILS = {
    ("destroy", True): "what a move that did not end has left; it never ran here",
    ("destroy", False): "it runs on the host it has moved to",
    ("rename", False): "it comes back, as it runs nowhere else",
    ("resume", False): "it comes back, as it runs nowhere else",
}
_RESUME = """
import ctypes, sys
from xen.lowlevel import xc
domid = int(sys.argv[1])
xc.xc().domain_resume(domid, 1)
store = ctypes.CDLL("libxenstore.so.4")
store.xs_open.restype = ctypes.c_void_p
handle = store.xs_open(ctypes.c_ulong(0))
store.xs_resume_domain.restype = ctypes.c_bool
sys.exit(0 if handle and store.xs_resume_domain(ctypes.c_void_p(handle), ctypes.c_uint(domid)) else 1)
"""
"""What libxl does for a guest without a device model (tools/libs/light/libxl_dom_suspend.c, domain_resume_raw), by Debian's own binding:
no xl before 4.20 can resume a suspended domain."""


class SettleError(Exception):
    """A step that is not done, with the reason and what to do."""


def check(steps: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is wrong with steps, one line each."""
    return [f"steps[{number}]: verb: value {step['verb']!r}, allowed {', '.join(VERBS)}"
            for number, step in enumerate(steps) if step["verb"] not in VERBS]


def actions(steps: Sequence[Mapping[str, Any]], forget: Mapping[str, Sequence[str]]) -> list[Action]:
    """forget: guest -> paths of links and configurations that go."""
    told = [Action(step["verb"], f"domain {step['domid']} ({step['name']})",
                   f"of guest {step['guest']}: {_DETAILS[step['verb'], step['never_ran']]}") for step in steps]
    return told + [Action("remove", path, f"guest {guest} has moved away") for guest, paths in forget.items() for path in paths]


def carry_out(runner: Runner, steps: Sequence[Mapping[str, Any]], forget: Mapping[str, Sequence[str]], wait_seconds: float) -> None:
    """Do it. Raises SettleError with the first step that cannot be done; what follows it is left."""
    for step in steps:
        name = step["name"]
        # The step before has renamed it.
        seen = _find(runner, step, {name, step["new_name"] or name})
        if step["verb"] == "destroy":
            runner.change(destroy(step["domid"]))
            _wait(runner, step, lambda copy: copy is None or copy.state == "dying", wait_seconds, "is still there after xl destroy")
        elif step["verb"] == "rename":
            if seen.name != step["new_name"]:
                runner.change(["xl", "rename", str(step["domid"]), step["new_name"]])
        else:
            _resume(runner, step, seen, wait_seconds)
    for paths in forget.values():
        for path in paths:
            if os.path.lexists(path):
                os.unlink(path)


def forgotten(guests: Iterable[str], places: units.Places) -> dict[str, list[str]]:
    """What guests that have moved away have left in files."""
    return {guest: paths for guest in guests if (paths := units.owned(guest, places))}


def _find(runner: Runner, step: Mapping[str, Any], allowed: set[str]) -> Copy:
    """The domain of a step, as it must still be."""
    copy = _seen(runner, step["domid"])
    expected = f"guest {step['guest']!r}: domain {step['domid']} was to be {' or '.join(sorted(allowed))} with uuid {step['uuid']}"
    if copy is None:
        raise SettleError(f"{expected}, and is gone. Run this again: it looks anew")
    if copy.uuid != step["uuid"] or copy.name not in allowed:
        raise SettleError(f"{expected}, and is {copy.name} with uuid {copy.uuid}. Run this again: it looks anew")
    if step["never_ran"] and not copy.never_ran:
        raise SettleError(f"guest {step['guest']!r}: {copy.told()} has run here since it was judged; nothing was done. Run this again")
    if not step["never_ran"] and step["verb"] == "destroy" and copy.state == "running":
        raise SettleError(f"guest {step['guest']!r}: {copy.told()} runs again since it was judged; nothing was done. Run this again")
    return copy


def _seen(runner: Runner, domid: int) -> Copy | None:
    return next((copy for copy in listing.parse(runner.read(listing.COMMAND).out) if copy.domid == domid), None)


def _resume(runner: Runner, step: Mapping[str, Any], seen: Copy, wait_seconds: float) -> None:
    domid = str(step["domid"])
    if seen.stopped:
        version = re.match(r"([0-9]+)\.([0-9]+)", xl_host.xen_version())
        if version and (int(version[1]), int(version[2])) >= _XL_RESUMES_SINCE:
            runner.change(["xl", "resume", domid])
        else:
            library = runner.read(["/usr/lib/xen-common/bin/xen-dir"]).out.strip()
            runner.change(["env", f"PYTHONPATH={library}/lib/python", "/usr/bin/python3", "-c", _RESUME, domid])
    if seen.flags[2] == "p":
        runner.change(["xl", "unpause", domid])
    _wait(runner, step, lambda copy: copy is not None and copy.state == "running", wait_seconds,
          "does not run after it was resumed; see xl list and /var/log/xen, and xl destroy it and start it anew when it stays so")


def _wait(runner: Runner, step: Mapping[str, Any], done: Any, wait_seconds: float, wrong: str) -> None:
    deadline = time.monotonic() + wait_seconds
    while not done(_seen(runner, step["domid"])):
        if time.monotonic() >= deadline:
            raise SettleError(f"guest {step['guest']!r}: domain {step['domid']} ({step['name']}) {wrong}")
        time.sleep(1)

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""dom0's weight: set now, kept over boots, taken back."""
from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import carry_out, plan, render, state
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

from tests.unit.dom0.test_dom0 import CONVERGED, SETTINGS, TEXTS
from tests.unit.dom0.test_versions import Commands

HEAVY = replace(SETTINGS, weight=512)
UNIT = render.weight_unit(HEAVY)[0].content
WRITE, START = f"write file {render.WEIGHT_FILE}", f"start service {render.WEIGHT_UNIT}: with the host"
SET = "set weight of dom0: 512"
REMOVE = f"remove service {render.WEIGHT_UNIT}: no weight is asked for"


@pytest.mark.parametrize(("settings", "host", "unit", "lines"), [
    (SETTINGS, {}, None, []),
    (HEAVY, {"dom0_weight": 256}, None, [WRITE, START, SET]),
    (HEAVY, {"dom0_weight": 512, "weight_linked": True}, UNIT, []),
    # Cut off after the file, and after the link.
    (HEAVY, {"dom0_weight": 256}, UNIT, [START, SET]),
    (HEAVY, {"dom0_weight": 256, "weight_linked": True}, UNIT, [SET]),
    # Xen does not run yet; the unit does it.
    (HEAVY, {"xen_running": False}, None, [WRITE, START]),
    (replace(HEAVY, weight=300), {"dom0_weight": 512, "weight_linked": True}, UNIT, [WRITE, START, "set weight of dom0: 300"]),
    (SETTINGS, {"dom0_weight": 512, "weight_linked": True}, UNIT, [REMOVE, "set weight of dom0: 256"]),
    # Cut off after it was given back, and after the link went.
    (SETTINGS, {"dom0_weight": 256, "weight_linked": True}, UNIT, [REMOVE]),
    (SETTINGS, {"dom0_weight": 256}, UNIT, [REMOVE]),
])
def test_steps(settings: render.Settings, host: dict[str, Any], unit: str | None, lines: list[str]) -> None:
    texts = {**TEXTS, render.WEIGHT_FILE: unit}
    found = [action.line() for action in plan.steps(settings, replace(CONVERGED, **host), texts).actions()]
    assert [line for line in found if "weight" in line] == lines


@pytest.mark.parametrize("settings", [HEAVY, SETTINGS])
def test_the_order_of_commands(settings: render.Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    host = replace(CONVERGED, dom0_weight=300, weight_linked=settings is SETTINGS)
    steps = plan.steps(settings, host, {**TEXTS, render.WEIGHT_FILE: None if settings is HEAVY else UNIT})
    monkeypatch.setattr(carry_out, "write_atomically", lambda file: None)
    commands = Commands()
    carry_out._weight(cast(Runner, commands), steps)
    assert commands.asked == ([
        f"systemctl enable {render.WEIGHT_UNIT}", "xl sched-credit2 -d Domain-0 -w 512",
    ] if settings is HEAVY else [
        "xl sched-credit2 -d Domain-0 -w 256", f"systemctl disable {render.WEIGHT_UNIT}", "systemctl daemon-reload",
    ])


@pytest.mark.parametrize(("listing", "weight"), [
    ("Name                                ID Weight  Cap\nDomain-0                             0    256    0\n", 256),
    ("Cpupool Pool-0: ratelimit=1000us\nName      ID Weight  Cap\nDomain-0   0   1024    0\nweb01   1   256   0\n", 1024),
    ("", None), ("Name ID Weight Cap\n", None),
])
def test_weight_as_xl_prints_it(listing: str, weight: int | None) -> None:
    assert state.dom0_weight(listing) == weight


@pytest.mark.parametrize(("weight", "good"), [(None, True), (1, True), (65535, True), (0, False), (65536, False), (True, False)])
def test_range(weight: Any, good: bool) -> None:
    errors = render.check(replace(SETTINGS, weight=weight))
    assert errors == ([] if good else [f"weight: value {weight!r}, allowed a whole number, 1 to 65535"])


@pytest.mark.parametrize(("words", "said"), [
    ((), ""), (("sched=credit2", "ucode=scan"), ""), (("sched=credit", "sched=credit2"), ""),
    (("sched=credit",), "sched=credit"), (("sched=credit2", "sched=rtds"), "sched=rtds"),
])
def test_another_scheduler_in_the_options_is_refused_before_it_runs(words: tuple[str, ...], said: str) -> None:
    errors = render.check(replace(HEAVY, xen_options=words))
    assert errors == ([f"weight: value 512, allowed none with {said} in xen_options: Xen's scheduler credit2 alone has it"] if said else [])
    assert render.check(replace(SETTINGS, xen_options=words)) == []


@pytest.mark.parametrize(("scheduler", "refused"), [("", False), ("credit2", False), ("credit", True)])
def test_another_scheduler_is_refused(scheduler: str, refused: bool) -> None:
    found = state.obstacles(replace(CONVERGED, scheduler=scheduler), False, HEAVY)
    assert found == (["weight: value 512, allowed with Xen's scheduler credit2; here credit runs."] if refused else [])
    assert state.obstacles(replace(CONVERGED, scheduler=scheduler), False, SETTINGS) == []

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guests that two controllers would start on two hosts at once. Peers are commands here, in place of SSH to them."""
from __future__ import annotations

import fcntl
import json
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import guard
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import apply, claims
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.plan import Places, Steps
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.start import GuestError


@pytest.fixture(name="run", autouse=True)
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(guard, "CONFIG", str(tmp_path / "guard.json"))
    monkeypatch.setattr(guard, "STARTING", str(tmp_path / "starting"))
    monkeypatch.setattr(guard, "CAPABILITIES", str(tmp_path / "none"))
    monkeypatch.setattr(claims, "_LOOK_SECONDS", 0.2)
    return tmp_path


def peer(name: str, runs: Collection[str] = (), starts: Collection[str] = (), code: int = 0) -> dict[str, Any]:
    told = shlex.quote(json.dumps({"runs": sorted(runs), "starts": sorted(starts), "busy": True}))
    return {"name": name, "command": ["sh", "-c", f"echo {told}; exit {code}"]}


def settings(run: Path, *peers: dict[str, Any]) -> None:
    (run / "guard.json").write_text(json.dumps({"guests": ["db01", "web01"], "peers": peers, "wait_seconds": 300}))


def test_others_see_what_is_being_started_while_it_lasts(run: Path) -> None:
    assert guard.tell(str(run / "auto"), str(run / "claims"))["runs"] == []
    with claims.held(["web01", "db01"]):
        assert guard.tell(str(run / "auto"), str(run / "claims"))["runs"] == ["db01", "web01"]
        with pytest.raises(GuestError, match="guest 'db01': another run is just starting it"), claims.held({"db01"}):
            pass
    assert guard.tell(str(run / "auto"), str(run / "claims"))["runs"] == []
    # A look is no start.
    with open(run / "starting" / "web01", "rb") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        with pytest.raises(GuestError, match="another run"), claims.held(["web01"]):
            pass
    with claims.held(["web01"]):
        pass


@pytest.mark.parametrize(("peers", "text"), [
    ([peer("xen02", ["web01"]), peer("xen03")], "guest 'web01': xen02 runs or starts it. No guest was started"),
    ([peer("xen02", ["web01"]), peer("xen03", code=255)],
     "guest 'web01': xen02 runs or starts it; guests db01, web01: xen03 could not be asked by this host whether they run there;"),
])
def test_no_guest_starts_that_another_host_has(run: Path, peers: list[dict[str, Any]], text: str) -> None:
    settings(run, *peers)
    with pytest.raises(GuestError) as caught:
        claims.check(["web01", "db01", "local01"])
    assert str(caught.value).startswith(text)


def test_what_does_not_keep_a_guest_from_starting(run: Path) -> None:
    claims.check(["web01"])
    # Another guest; a link, of which the controller was told; a plan that is carried out, which may be this one.
    settings(run, peer("xen02", ["db01", "local01"], ["web01"]))
    claims.check(["web01", "local01"])
    # A guest with disks of its own could be nowhere else.
    settings(run, peer("xen02", code=255))
    claims.check(["local01"])


def test_xl_is_not_asked_to_start_what_another_host_has(run: Path) -> None:
    settings(run, peer("xen02", ["web01"]))
    with pytest.raises(GuestError, match="xen02 runs or starts it"):
        apply.carry_out(None, [{"name": "web01"}], Steps(start=["web01"]), Places(str(run), str(run)), 1, 1)

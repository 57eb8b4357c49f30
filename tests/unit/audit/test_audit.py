# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Findings and verdict from the answers of good and bad hosts."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.audit import findings, text
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import command_cases
from tests.unit.audit.answers import LEVEL, changed, good


def answers(**changes: Any) -> dict[str, Any]:
    return {"xen01": changed(good("xen01"), changes), "xen02": good("xen02")}


@pytest.mark.parametrize("case", command_cases.load(Path(__file__).with_name("cases.yml")))
def test_findings(case: dict[str, Any]) -> None:
    found = findings.audit("lab", ["xen01", "xen02"], ["xen01", "xen02"], answers(**case.get("changes", {})))
    host = found["hosts"]["xen01"]
    says = [" | ".join(entry[key] for key in ("kind", "item", "found", "wanted")) for entry in host["findings"]]
    assert says == case.get("says", [])
    assert [f"{entry['what']}: {entry['why']}" for entry in host["unasked"]] == case.get("unasked", [])
    assert found["verdict"] == host["verdict"] == case["verdict"]
    assert found["hosts"]["xen02"]["verdict"] == "in_sync"
    assert {entry["kind"] for entry in host["findings"]} <= set(findings.KINDS)
    assert case.get("message", "") in " ".join(entry["message"] for entry in host["findings"])
    assert sum(found["kinds"].values()) == len(host["findings"])


def test_unknown_wins_over_drift_and_the_others_are_audited() -> None:
    found = findings.audit("lab", ["xen01", "xen02"], ["xen01", "xen02"], {
        **answers(**{"dom0.reboot_reasons": ["x"]}), "xen02": {"host": {"unreachable": True, "msg": "gone"}}})
    assert {name: host["verdict"] for name, host in found["hosts"].items()} == {"xen01": "drift", "xen02": "unknown"}
    assert found["verdict"] == "unknown"


def test_hosts_outside_the_limit_are_listed_and_do_not_count() -> None:
    found = findings.audit("lab", ["xen01", "xen02", "xen03"], ["xen01"], {"xen01": good("xen01")})
    assert (found["verdict"], found["not_asked"], list(found["hosts"])) == ("in_sync", ["xen02", "xen03"], ["xen01"])
    assert text.headline(found) == "lab: in sync: 1 host asked, 2 hosts not asked"
    assert "limited to others: xen02, xen03." in text.markdown(found)


@pytest.mark.parametrize("given_answers", [{}, {"xen01": {}}])
def test_a_host_without_answers_is_unknown(given_answers: dict[str, Any]) -> None:
    found = findings.audit("lab", ["xen01"], ["xen01"], given_answers)
    assert (found["verdict"], found["hosts"]["xen01"]["unasked"][0]["what"]) == ("unknown", "everything")


@pytest.mark.parametrize(("changes", "why"), [
    ({"wanted.arrays": [{"nam": "x"}]}, "storage_arrays: value that does not hold together (KeyError('name'))"),
    ({"wanted.arrays": "oops"}, "storage_arrays: value that does not hold together (AttributeError("),
    ({"wanted.arrays": 5}, "storage_arrays: value that does not hold together (TypeError("),
    ({"wanted.arrays": [{"name": "x", "members": ["D1"]}]}, "storage_arrays: value that does not hold together (AttributeError("),
    ({"wanted.other_arrays": "md0"}, "audit_other_arrays: value 'md0', allowed a list of UUIDs or names"),
    ({"wanted.other_arrays": 5}, "audit_other_arrays: value 5, allowed a list of UUIDs or names"),
])
def test_variables_of_one_host_that_do_not_hold_together_keep_nobody_from_the_others(changes: dict[str, Any], why: str) -> None:
    found = findings.audit("lab", ["xen01", "xen02"], ["xen01", "xen02"], answers(**changes))
    host = found["hosts"]["xen01"]
    assert (host["verdict"], host["findings"], found["hosts"]["xen02"]["verdict"]) == ("unknown", [], "in_sync")
    assert [entry["what"] for entry in host["unasked"]] == ["arrays of the estate"]
    assert host["unasked"][0]["why"].startswith(f"host 'xen01': {why}")
    # A member that failed is told all the same.
    degraded = findings.audit("lab", ["xen01"], ["xen01"], answers(**changes, **{"host.arrays.0.members.0.state": "failed"}))
    assert [entry["kind"] for entry in degraded["hosts"]["xen01"]["findings"]] == ["array_degraded"]


@pytest.mark.parametrize("pool", ["", "default", None])
def test_the_pool_of_a_host_without_one_is_the_planner_s(pool: str | None) -> None:
    changes = {"wanted.pool": "default"}
    hosts = {"xen01": changed(good("xen01"), {"wanted.pool": pool, "host.versions.distribution": "12.10"}),
             "xen02": changed(good("xen02"), changes)}
    found = findings.audit("lab", hosts, hosts, hosts)["hosts"]["xen01"]["findings"]
    assert [entry["message"] for entry in found] == ["distribution is 12.10; 1 of 2 hosts of the pool default have 12.11"]


AVX2, AVX512F = "00000001:00000001:00000800:00000001:00000001:00000020", "00000001:00000001:00000800:00000001:00000001:00010020"


@pytest.mark.parametrize(("cpus", "says"), [
    ({"xen01": {"hvm": AVX2}, "xen02": {"hvm": AVX2}}, []),
    ({"xen01": {"hvm": AVX2}, "xen02": {"hvm": AVX512F}}, [("xen02", "with avx512f")]),
    ({"xen01": {"hvm": AVX512F}, "xen02": {"hvm": AVX2}, "xen03": {"hvm": AVX512F}},
     [("xen01", "with avx512f"), ("xen03", "with avx512f")]),
    # What cannot be hidden is told as well; a register that no guest sees is not.
    ({"xen01": {"hvm": AVX2}, "xen02": {"hvm": AVX512F + ":00000000" * 4 + ":00000020"}}, [("xen02", "with avx512f, avx512-bf16")]),
    ({"xen01": {"hvm": AVX2}, "xen02": {"hvm": AVX2 + ":00000000" * 10 + ":00000001"}}, []),
    # A host of which nothing is known accuses nobody.
    ({"xen01": {"hvm": AVX512F}, "xen02": None}, []),
    ({"xen01": {"hvm": AVX2, "vendor": "GenuineIntel"}, "xen02": {"hvm": AVX2}}, [("xen01", "GenuineIntel"), ("xen02", "AuthenticAMD")]),
])
def test_a_pool_without_a_level_is_compared_with_itself(cpus: dict[str, dict[str, str] | None], says: list[tuple[str, str]]) -> None:
    hosts = {name: changed(good(name), {"wanted.cpu_levels": {"b": dict(LEVEL)},
                                        "host.cpu": {"vendor": "AuthenticAMD", **cpu} if cpu else {}}) for name, cpu in cpus.items()}
    found = findings.audit("lab", hosts, hosts, hosts)["hosts"]
    assert [(entry["host"], entry["found"]) for host in found.values() for entry in host["findings"]] == says
    assert {entry["kind"] for host in found.values() for entry in host["findings"]} <= {"cpu_level"}


def test_cpu_features_of_a_later_xen_keep_nobody_from_the_others() -> None:
    told = AVX2 + ":00000000" * 40 + ":00000001"
    found = findings.audit("lab", ["xen01", "xen02"], ["xen01", "xen02"], answers(**{"host.cpu.hvm": told}))
    host = found["hosts"]["xen01"]
    assert (host["verdict"], host["findings"], found["hosts"]["xen02"]["verdict"]) == ("unknown", [], "in_sync")
    assert [entry["what"] for entry in host["unasked"]] == ["CPU features"]
    assert "allowed features of Xen 4.17 to 4.20" in host["unasked"][0]["why"]


def test_hosts_of_other_pools_have_cpus_of_their_own() -> None:
    hosts = {"xen01": good("xen01"), "xen02": changed(good("xen02"), {"wanted.pool": "b", "host.cpu.hvm": AVX512F})}
    assert findings.audit("lab", hosts, hosts, hosts)["verdict"] == "in_sync"


def test_nobody_asked_is_nothing_known() -> None:
    assert findings.audit("lab", ["xen01"], [], {})["verdict"] == "unknown"


def test_the_majority_of_a_pool_is_right() -> None:
    hosts = {name: good(name) for name in ("xen01", "xen02", "xen03")}
    hosts["xen03"]["host"]["versions"]["distribution"] = "13.1"
    found = findings.audit("lab", hosts, hosts, hosts)
    assert [(entry["host"], entry["found"], entry["wanted"]) for host in found["hosts"].values() for entry in host["findings"]] == [
        ("xen03", "13.1", "12.11")]


@given(st.permutations(["xen01", "xen02", "xen03"]), st.permutations(["eth1", "eth2"]))
def test_the_order_of_hosts_does_not_matter(order: list[str], ports: list[str]) -> None:
    hosts = {name: changed(good(name), {"host.bonds.0.members": [
        {"name": port, "link": False, "aggregated": False} for port in ports]}) for name in order}
    expected = {name: hosts[name] for name in sorted(hosts)}
    found = [findings.audit("lab", names, names, told) for names, told in ((order, hosts), (sorted(order), expected))]
    assert json.dumps(found[0]) == json.dumps(found[1])


def test_the_report_names_everything() -> None:
    found = findings.audit("a|b", ["xen01", "xen02"], ["xen01", "xen02"], answers(
        **{"host.bonds.0.members.0.link": False, "dom0": {"failed": True, "msg": "x | y"}}))
    page = text.markdown(found)
    assert page.startswith("# Audit of a\\|b\n\n**a\\|b: drift: 2 hosts asked, 2 findings on 1 host.**\n")
    assert "| xen01 | drift | 2 | 1 |\n| xen02 | in sync | 0 | 0 |\n" in page
    assert "| xen01 | bond\\_link | bond0 eth1 | no link | link | bond bond0: eth1 has no link |" in page
    assert "## Could not be asked" in page and "| xen01 | dom0 settings | x \\| y |" in page
    assert text.lines_of(found, ["/a.json"]) == [
        "a|b: drift: 2 hosts asked, 2 findings on 1 host", "xen01: bond_link: bond bond0: eth1 has no link",
        "xen01: failed: dom0 settings could not be compared: x | y", "xen01: not known: dom0 settings: x | y",
        "note: the inventory has no estate_workloads: guests were not compared", "written: /a.json"]


def run(folder: Path, given_answers: Any, flags: dict[str, bool] | None = None, **output: Any) -> dict[str, Any]:
    options = {"estate": "lab", "hosts": ["xen01", "xen02"], "asked": ["xen01", "xen02"], "answers": given_answers,
               "json": str(folder / "audit.json"), "markdown": str(folder / "audit.md"), "verdict": str(folder / "verdict")}
    return command_cases.run("audit_report", {"input": options, "flags": flags or {}, "output": output})


def test_audit_report_writes_once_and_tells_the_same(tmp_path: Path) -> None:
    first = run(tmp_path, answers(), changed=True, verdict="in_sync")
    assert [action["target"] for action in first["actions"]] == [str(tmp_path / name) for name in ("audit.json", "audit.md", "verdict")]
    assert json.loads((tmp_path / "audit.json").read_text()) == first["audit"]
    assert (tmp_path / "verdict").read_text() == "in_sync\n"
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert run(tmp_path, answers(), changed=False)["actions"] == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    second = run(tmp_path, answers(**{"dom0.reboot_reasons": ["x"]}), {"diff": True}, changed=True, verdict="drift")
    assert "-" not in second["diff"][2]["before"] and (second["diff"][2]["before"], second["diff"][2]["after"]) == ("in_sync\n", "drift\n")


def test_audit_report_writes_nothing_in_check_mode(tmp_path: Path) -> None:
    run(tmp_path / "out", answers(), {"check": True, "diff": True}, changed=True, verdict="in_sync")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("bad", [
    {"xen01": "text"}, {"xen01": {"host": {"arrays": [{}]}}}, {"xen01": {"host": "text"}}, {"xen01": {"host": {"bonds": 5}}},
    {"xen01": {"host": {"versions": [1]}}},
])
def test_audit_report_refuses_what_is_no_answer(tmp_path: Path, bad: Any) -> None:
    result = run(tmp_path, bad, failed=True)
    assert result["msg"].startswith("answers: value that does not hold together (")
    assert "allowed what the modules host_info" in result["msg"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["json", "markdown", "verdict"])
def test_audit_report_names_a_path_that_cannot_be_written(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").write_text("")
    options = {"estate": "lab", "hosts": [], "asked": [], "answers": {}, option: str(tmp_path / "file" / "x")}
    result = command_cases.run("audit_report", {"input": options, "output": {"failed": True}})
    assert result["msg"].startswith(f"{option}: value '") and result["msg"].endswith(", allowed the path of a file that can be written")

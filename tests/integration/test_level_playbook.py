# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""playbooks/level.yml with a stand-in for the module that asks hosts, and what site.yml and the role guests make of levels and versions."""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.xenfold.consolidation.plugins.module_utils.cpu import features

ROOT = Path(__file__).parents[2]
STAND_IN = """#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule({"told": {"type": "dict", "required": True}}, supports_check_mode=True)
module.exit_json(changed=False, **module.params["told"])
"""
AVX512F = ["0x7,0:ebx=xxxxxxxxxxxxxxx0xxxxxxxxxxxxxxxx"]


def told(*names: str) -> dict[str, Any]:
    """What host_info answers of a host with these CPU features."""
    return {"cpu": {"vendor": "GenuineIntel", "hvm": features.text_of(features.words_of(["sse2", "xsave", "avx", *names]))}, "unasked": []}


def host(answer: dict[str, Any], pool: str = "") -> dict[str, Any]:
    return {"told": answer, "estate_host": {"pool": pool} if pool else {}}


def written(variable: str) -> dict[str, Any]:
    """A task that writes what a variable is on each host into a file of the host's name beside the playbook."""
    file = {"content": f"{{{{ {variable} | to_json }}}}", "dest": "{{ playbook_dir }}/{{ inventory_hostname }}", "mode": "0644"}
    return {"ansible.builtin.copy": file, "tags": ["always"]}


class Estate:
    """A checkout of its own with the playbooks and one inventory; the module's answer is the variable `told` of each host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.levels = folder / "estate" / "group_vars" / "all" / "cpu_levels.yml"
        (folder / "estate").mkdir()
        (folder / "library").mkdir()
        (folder / "library" / "stand_in.py").write_text(STAND_IN)
        shutil.copytree(ROOT / "playbooks", folder / "playbooks")
        for name, module in (("level", "host_info"), ("site", "xl_guest_info")):
            path = folder / "playbooks" / f"{name}.yml"
            text = path.read_text()
            assert text.count(f"      xenfold.consolidation.{module}:\n") == 1
            path.write_text(text.replace(f"      xenfold.consolidation.{module}:\n", '      stand_in: {told: "{{ told }}"}\n'))

    def hosts(self, **hosts: dict[str, Any]) -> None:
        variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        (self.folder / "estate" / "hosts.yml").write_text(yaml.safe_dump({"xen_hosts": {"hosts": hosts, "vars": variables}}))

    def play(self, *arguments: str, playbook: str = "playbooks/level.yml", inventory: str = "estate") -> tuple[int, str]:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
            "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "PYTHONDONTWRITEBYTECODE": "1",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_LIBRARY": str(self.folder / "library"),
        }
        done = subprocess.run([str(Path(sys.executable).parent / "ansible-playbook"), "-i", inventory, playbook, *arguments],
                              cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    def keep(self, *arguments: str) -> tuple[int, str]:
        """Level it into the inventory."""
        return self.play("-e", f"level_file={self.levels}", *arguments)


@pytest.fixture(name="estate")
def _estate(tmp_path: Path) -> Estate:
    return Estate(tmp_path)


def changed(text: str) -> int:
    counts = [int(count) for count in re.findall(r"\bchanged=(\d+)", text)]
    assert counts, text
    return sum(counts)


def test_levels_are_shown_then_written_then_stay_and_reach_the_guests(estate: Estate) -> None:
    estate.hosts(xen01=host(told("avx512f"), "a"), xen02=host(told(), "a"), xen03=host(told("avx512f")))
    expected = {"a": ["avx512f"], "default": []}
    file = estate.folder / "build" / "estate" / "cpu_levels.yml"

    code, text = estate.play("--check", "--diff")
    assert (code, file.parent.exists()) == (0, False), text
    assert "pool 'a': 2 hosts; hidden from guests: avx512f" in text
    assert "+pool_cpu_levels:" in text and "written: " not in text

    code, text = estate.play()
    assert code == 0 and f"written: {file}" in text, text
    levels = yaml.safe_load(file.read_text())["pool_cpu_levels"]
    assert {pool: level["hidden"] for pool, level in levels.items()} == expected
    assert [features.names_of(features.parse_words(level["features"])) for level in levels.values()] == [
        ["sse2", "xsave", "avx"], ["sse2", "xsave", "avx", "avx512f"]]
    before = file.read_bytes(), file.stat().st_mtime_ns
    code, text = estate.play()
    assert (code, changed(text)) == (0, 0), text
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before

    estate.levels.parent.mkdir(parents=True)
    shutil.copy(file, estate.levels)
    (estate.folder / "guests.yml").write_text(yaml.safe_dump([{
        "hosts": "xen_hosts", "gather_facts": False, "vars_files": [str(ROOT / "roles" / "guests" / "defaults" / "main.yml")],
        "tasks": [written("guests_cpuid")],
    }]))
    code, text = estate.play(playbook="guests.yml")
    assert code == 0, text
    found = [json.loads((estate.folder / name).read_text()) for name in ("xen01", "xen02", "xen03")]
    assert found == [AVX512F, AVX512F, []]


def test_a_host_that_would_shrink_the_level_takes_consent(estate: Estate) -> None:
    level = {"vendor": "GenuineIntel", "features": told("avx512f")["cpu"]["hvm"], "hidden": []}
    estate.levels.parent.mkdir(parents=True)
    estate.levels.write_text(yaml.safe_dump({"pool_cpu_levels": {"a": level}}))
    kept = estate.levels.read_bytes()
    estate.hosts(xen01=host(told("avx512f"), "a"), xen02=host(told("pku"), "a"))
    code, text = estate.keep("-e", '{"level_shrink": ["b"]}')
    assert (code, estate.levels.read_bytes()) == (2, kept), text
    assert "host 'xen02' would shrink the level of pool 'a' by avx512f" in " ".join(text.split())
    assert changed(text) == 0
    code, text = estate.keep("-e", '{"level_shrink": ["a"]}')
    assert (code, changed(text)) == (0, 1), text
    assert yaml.safe_load(estate.levels.read_text())["pool_cpu_levels"]["a"]["hidden"] == ["avx512f", "pku"]


@pytest.mark.parametrize(("second", "arguments", "says"), [
    (told(), ["--limit", "xen01"], "not asked: xen02. Run it without --limit"),
    ({"cpu": {}, "unasked": [{"what": "CPU features", "why": "xen-cpuid is not there"}]}, [],
     "host 'xen02' did not tell what its CPUs offer to guests: xen-cpuid is not there"),
])
def test_what_makes_no_level_writes_nothing(estate: Estate, second: dict[str, Any], arguments: list[str], says: str) -> None:
    estate.hosts(xen01=host(told(), "a"), xen02=host(second, "a"))
    code, text = estate.play(*arguments)
    assert code == 2 and says in " ".join(text.split()), text
    assert not (estate.folder / "build").exists()


def test_site_asks_for_versions_once_and_hands_them_to_dom0(estate: Estate) -> None:
    shutil.copytree(ROOT / "inventories" / "lab", estate.folder / "lab")
    (estate.folder / "playbooks" / "provision.yml").write_text(yaml.safe_dump([{
        "hosts": "xen_hosts", "gather_facts": False, "tasks": [written("dom0_xen_versions")],
    }]))
    told_by = ("{{ {'guests': {}, 'configured': [], 'volumes': [], 'guarded': [],"
               " 'xen_version': '4.17.7' if inventory_hostname == 'xen01' else ''} }}")
    arguments = ["-e", json.dumps({"told": told_by, "ansible_connection": "local", "ansible_python_interpreter": sys.executable}),
                 "-e", f"plan_dir={estate.folder}/out", "--skip-tags", "guests"]

    code, text = estate.play(*arguments, playbook="playbooks/site.yml", inventory="lab")
    assert code == 0, text
    found = [json.loads((estate.folder / "playbooks" / name).read_text()) for name in ("xen01", "xen02")]
    assert found == [{"lab": {"xen01": "4.17.7"}}] * 2

    for name in ("xen01", "xen02"):
        (estate.folder / "playbooks" / name).unlink()
    code, text = estate.play(*arguments, "-e", '{"pool_cpu_levels": {"a": 1}}', playbook="playbooks/site.yml", inventory="lab")
    assert code == 2 and "pool_cpu_levels.a: value 1, allowed a mapping of" in " ".join(text.split()), text
    assert not (estate.folder / "playbooks" / "xen01").exists()

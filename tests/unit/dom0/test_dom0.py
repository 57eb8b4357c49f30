# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import plan, render, state
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Result
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import command_cases

SETTINGS = render.Settings(memory_mib=896, vcpus=1, xen_options=("ucode=scan",), linux_options=("console=hvc0",),
                           xl_options={"autoballoon": "off", "claim_mode": 1})
MENU = """\
set default="Debian GNU/Linux, with Xen hypervisor"
menuentry 'Debian GNU/Linux' --class debian {
\tlinux /boot/vmlinuz-6.1.0-1-amd64 root=UUID=1 ro
}
menuentry 'Debian GNU/Linux, with Xen hypervisor' --class debian {
\tmultiboot2 /boot/xen-4.17-amd64.gz placeholder dom0_mem=896M,max:896M dom0_max_vcpus=1 ucode=scan ${xen_rm_opts}
\tmodule2 /boot/vmlinuz-6.1.0-1-amd64 placeholder root=UUID=1 ro console=hvc0
}
"""
CONVERGED = state.HostState(
    missing_packages=(), unfinished_packages=False, xen_running=True,
    xen_words=("placeholder", "dom0_mem=896M,max:896M", "dom0_max_vcpus=1", "ucode=scan"),
    dom0_memory_mib=893, dom0_vcpus=1, guests=(), grub_cfg=MENU, capable_kernels=("6.1.0-1-amd64",),
    submenus_disabled=False, secure_boot=False, xenconsoled_words=render.XENCONSOLED_WORDS,
)
TEXTS = {file.path: file.content for file in [render.grub_drop_in(SETTINGS), *render.configuration(SETTINGS)]}


def test_a_converged_host_needs_nothing():
    assert plan.steps(SETTINGS, CONVERGED, TEXTS).actions() == []
    assert plan.reboot_reasons(SETTINGS, CONVERGED) == []


def test_a_plain_host_gets_the_drop_in_before_the_packages_and_no_second_update_of_the_menu():
    fresh = replace(CONVERGED, missing_packages=("xen-system-amd64",), xen_running=False, xen_words=(), dom0_memory_mib=None,
                    dom0_vcpus=None, grub_cfg="", xenconsoled_words=())
    lines = [action.line() for action in plan.steps(SETTINGS, fresh, dict.fromkeys(TEXTS)).actions()]
    assert lines[:2] == ["write file /etc/default/grub.d/00-xenfold.cfg", "install package xen-system-amd64"]
    assert not any("boot menu" in line for line in lines)
    assert plan.reboot_reasons(SETTINGS, fresh) == ["Xen does not run on this host"]


def test_a_run_cut_off_between_drop_in_and_menu_is_finished():
    cut = replace(CONVERGED, grub_cfg=MENU.replace("dom0_max_vcpus=1", "dom0_max_vcpus=2"))
    assert [a.target for a in plan.steps(SETTINGS, cut, TEXTS).actions()] == ["boot menu"]


@pytest.mark.parametrize(("change", "reason"), [
    ({"xen_words": ("dom0_mem=896M,max:896M", "dom0_max_vcpus=1")}, "Xen was started without ucode=scan"),
    ({"dom0_vcpus": 2}, "dom0 has 2 vCPUs instead of 1"),
    ({"dom0_memory_mib": 700}, "dom0 has 700 MiB of memory instead of 896"),
])
def test_what_waits_for_a_reboot_is_named(change, reason):
    assert plan.reboot_reasons(SETTINGS, replace(CONVERGED, **change)) == [reason]


@pytest.mark.parametrize(("menu", "right"), [
    (MENU, True),
    (MENU.replace("dom0_mem=896M,max:896M", "dom0_mem=512M,max:512M"), False),
    (MENU.replace('default="Debian GNU/Linux, with Xen hypervisor"', 'default="0"'), False),
    (MENU.replace("menuentry 'Debian GNU/Linux, with Xen hypervisor'", "menuentry 'Something else'"), False),
    ("", False),
    (MENU.replace("dom0_max_vcpus=1", "dom0_max_vcpus=1 dom0_max_vcpus=4"), False),
])
def test_the_menu_is_judged_by_what_it_boots(menu, right):
    assert plan.menu_is_right(menu, SETTINGS) is right


@pytest.mark.parametrize(("change", "kernel_comes", "word"), [
    ({"submenus_disabled": True}, False, "GRUB_DISABLE_SUBMENU"),
    ({"secure_boot": True}, False, "Secure Boot"),
    ({"capable_kernels": ()}, False, "CONFIG_XEN_DOM0"),
])
def test_obstacles_are_named(change, kernel_comes, word):
    found = state.obstacles(replace(CONVERGED, **change), kernel_comes)
    assert len(found) == 1
    assert word in found[0]
    assert state.obstacles(CONVERGED, kernel_comes) == []


@pytest.mark.parametrize(("change", "text"), [
    ({"memory_mib": 100}, "memory_mib: 100 is too small; allowed is 512 or more (MiB)"),
    ({"vcpus": 0}, "vcpus: 0 is out of range; allowed is 1 to 128"),
    ({"xen_options": ('a"b',)}, "xen_options: 'a\"b' is not one plain word"),
    ({"xen_options": ("dom0_mem=1G",)}, "xen_options: 'dom0_mem=1G' is set by its own option"),
    ({"linux_options": ("quiet splash",)}, "linux_options: 'quiet splash' is not one plain word"),
    ({"xl_options": {"Auto": "x"}}, "xl_options: 'Auto' is not a setting"),
    ({"xl_options": {"vif.default.script": 'x"'}}, "holds a quote"),
])
def test_bad_settings_are_named_with_what_is_allowed(change, text):
    errors = render.check(replace(SETTINGS, **change))
    assert len(errors) == 1
    assert text in errors[0]


@given(st.lists(st.text(min_size=1, max_size=12), max_size=4))
def test_words_that_pass_reach_the_shell_unchanged(words):
    settings = replace(SETTINGS, xen_options=tuple(words))
    if render.check(settings):
        return
    line = next(line for line in render.grub_drop_in(settings).content.splitlines() if line.startswith("GRUB_CMDLINE_XEN="))
    assert shlex.split(line.removeprefix("GRUB_CMDLINE_XEN="))[0].split() == render.xen_words(settings)


def test_the_written_files_are_sound_shell(tmp_path: Path):
    for file in [render.grub_drop_in(SETTINGS), *render.configuration(SETTINGS)]:
        if file.path.startswith("/etc/default"):
            path = tmp_path / "file"
            path.write_text(file.content)
            subprocess.run(["sh", "-n", str(path)], check=True)


def test_parsers():
    listing = """\
Name                                        ID   Mem VCPUs\tState\tTime(s)
Domain-0                                     0   893     1     r-----      31.0
web01                                        1   128     2     -b----       2.1
web02--incoming                              2   128     1     --p---       0.0
"""
    assert state.domains(listing) == [("Domain-0", 893, 1), ("web01", 128, 2), ("web02--incoming", 128, 1)]
    assert state.xen_command_line("host : a\nxen_commandline  : placeholder dom0_mem=1G\n") == ("placeholder", "dom0_mem=1G")
    assert state.xen_command_line("host : a\n") == ()
    assert state.installed_packages("grub-common ii \nxen-utils rc \nlinux hi \nhalf iU \n") == {"grub-common", "linux"}


def test_reading_a_host_finds_the_traps(tmp_path: Path):
    class Silent:
        def read(self, argv, ok=(0,), data=None):
            return Result(0, "", "")

    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/config-6.1.0-1-cloud-amd64").write_text("# CONFIG_XEN_DOM0 is not set\n")
    (tmp_path / "etc/default/grub.d").mkdir(parents=True)
    (tmp_path / "etc/default/grub").write_text("GRUB_DISABLE_SUBMENU=y\n")
    found = state.read(Silent(), ["xen-system-amd64"], tmp_path)
    assert (found.missing_packages, found.xen_running, found.submenus_disabled) == (("xen-system-amd64",), False, True)
    assert found.capable_kernels == ()
    (tmp_path / "etc/default/grub.d/50-x.cfg").write_text("GRUB_DISABLE_SUBMENU=false\n")
    assert not state.read(Silent(), [], tmp_path).submenus_disabled


@pytest.mark.parametrize("case", command_cases.load(Path(__file__).with_name("cases.yml")))
def test_module(case):
    command_cases.run("dom0", case)


def test_the_rotation_of_logs_is_one_balanced_block():
    text = next(file.content for file in render.configuration(SETTINGS) if file.path == render.LOGROTATE)
    assert text.count("{") == text.count("}") == 1
    assert text.endswith("}\n")

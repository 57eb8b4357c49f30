# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import ipaddress
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from ansible_collections.xenfold.consolidation.plugins.module_utils import packages
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import carry_out, firewall, plan, render, state
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate import schema
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
\tmodule2 /boot/vmlinuz-6.1.0-1-amd64 placeholder root=UUID=1 ro net.ifnames=0 console=hvc0
\tmodule2 --nounzip /boot/initrd.img-6.1.0-1-amd64
}
submenu 'Advanced options for Debian GNU/Linux (with Xen hypervisor)' {
\tmenuentry 'Debian GNU/Linux, with Xen 4.17-amd64 and Linux 6.1.0-1-amd64 (recovery mode)' {
\t\tmultiboot2 /boot/xen-4.17-amd64.gz placeholder dom0_mem=896M,max:896M dom0_max_vcpus=1 ucode=scan ${xen_rm_opts}
\t\tmodule2 /boot/vmlinuz-6.1.0-1-amd64 placeholder root=UUID=1 ro single net.ifnames=0
\t}
}
"""
CONVERGED = state.HostState(
    missing_packages=(), unfinished_packages=False, xen_running=True,
    xen_words=("placeholder", "dom0_mem=896M,max:896M", "dom0_max_vcpus=1", "ucode=scan"),
    linux_words=("placeholder", "root=UUID=1", "ro", "net.ifnames=0", "console=hvc0"),
    dom0_memory_mib=893, dom0_vcpus=1, guests=(), grub_cfg=MENU, menu_is_old=False, capable_kernels=("6.1.0-1-amd64",),
    submenus_disabled=False, secure_boot=False, xenconsoled_words=render.XENCONSOLED_WORDS,
)
DROP_IN = render.grub_drop_in(SETTINGS).content
TEXTS = {file.path: file.content for file in [render.grub_drop_in(SETTINGS), *render.configuration(SETTINGS)]}


def test_a_converged_host_needs_nothing():
    assert plan.steps(SETTINGS, CONVERGED, TEXTS).actions() == []
    assert plan.reboot_reasons(SETTINGS, CONVERGED, DROP_IN) == []


def test_a_plain_host_gets_the_drop_in_before_the_packages_and_no_second_update_of_the_menu():
    fresh = replace(CONVERGED, missing_packages=("xen-system-amd64",), xen_running=False, xen_words=(), dom0_memory_mib=None,
                    dom0_vcpus=None, grub_cfg="", xenconsoled_words=())
    lines = [action.line() for action in plan.steps(SETTINGS, fresh, dict.fromkeys(TEXTS)).actions()]
    assert lines[:2] == ["write file /etc/default/grub.d/00-xenfold.cfg", "install package xen-system-amd64"]
    assert not any("boot menu" in line for line in lines)
    assert plan.reboot_reasons(SETTINGS, fresh, None) == ["Xen does not run on this host"]


@pytest.mark.parametrize("change", [
    {"grub_cfg": MENU.replace("dom0_max_vcpus=1", "dom0_max_vcpus=2")},
    {"grub_cfg": MENU.replace("console=hvc0", "console=tty0")},
    {"grub_cfg": MENU.replace("ucode=scan", "ucode=scan dom0_vcpus_pin")},
    # What is gone from the drop-in shows in the menu's age.
    {"grub_cfg": MENU.replace("ucode=scan", "ucode=scan loglvl=all"), "menu_is_old": True},
    {"grub_cfg": MENU.replace("console=hvc0", "console=hvc0 quiet"), "menu_is_old": True},
])
def test_a_run_cut_off_between_drop_in_and_menu_is_finished(change):
    assert [a.target for a in plan.steps(SETTINGS, replace(CONVERGED, **change), TEXTS).actions()] == ["boot menu"]


@pytest.mark.parametrize("grub_cfg", [
    MENU.replace("ucode=scan", "ucode=scan loglvl=all"), MENU.replace("console=hvc0", "console=hvc0 quiet"),
    MENU.replace("placeholder dom0_mem", "placeholder noreboot dom0_mem"),
])
def test_words_of_others_in_the_menu_are_left_alone(grub_cfg):
    assert plan.steps(SETTINGS, replace(CONVERGED, grub_cfg=grub_cfg), TEXTS).actions() == []


OLDER = replace(SETTINGS, vcpus_pin=True, xen_options=("ucode=scan", "loglvl=all"), linux_options=("console=hvc0", "quiet"))
XEN_BEFORE = ("placeholder", *render.xen_words(OLDER))
LINUX_BEFORE = (*CONVERGED.linux_words, "quiet")


def test_words_that_are_gone_ask_for_a_reboot_until_it_comes_and_never_after():
    before = render.grub_drop_in(OLDER).content
    menu = MENU.replace(" ucode=scan", " dom0_vcpus_pin ucode=scan loglvl=all").replace("console=hvc0", "console=hvc0 quiet")
    host = replace(CONVERGED, xen_words=XEN_BEFORE, linux_words=LINUX_BEFORE, grub_cfg=menu)
    assert plan.steps(OLDER, host, TEXTS | {render.GRUB_DROP_IN: before}).actions() == []
    assert plan.reboot_reasons(OLDER, host, before) == []
    reasons = [
        "Xen was started with dom0_vcpus_pin, which is not asked for", "Xen was started with loglvl=all, which is not asked for",
        "the dom0 kernel was started with quiet, which is not asked for",
    ]
    # Before the run, after it was cut off, after it, and in every run until the reboot.
    steps = plan.steps(SETTINGS, host, TEXTS | {render.GRUB_DROP_IN: before})
    assert [action.target for action in steps.actions()] == [f"file {render.GRUB_DROP_IN}", "boot menu"]
    assert plan.reboot_reasons(SETTINGS, host, before) == reasons
    after = steps.before_packages[0].content
    assert plan.reboot_reasons(SETTINGS, replace(host, menu_is_old=True), after) == reasons
    done = replace(host, grub_cfg=MENU)
    for _run in range(3):
        assert plan.reboot_reasons(SETTINGS, done, after) == reasons
        assert plan.steps(SETTINGS, done, TEXTS | {render.GRUB_DROP_IN: after}).actions() == []
        assert render.grub_drop_in(SETTINGS, after).content == after
    assert plan.reboot_reasons(SETTINGS, replace(CONVERGED, grub_cfg=MENU), after) == []
    # Asked for again, they are words like the others.
    assert render.words_in(render.grub_drop_in(OLDER, after).content) == render.words_in(before)


def test_a_word_that_came_to_the_menu_from_elsewhere_is_no_reason():
    before = render.grub_drop_in(replace(SETTINGS, xen_options=("ucode=scan", "loglvl=all"))).content
    after = render.grub_drop_in(SETTINGS, before).content
    moved = replace(CONVERGED, grub_cfg=MENU.replace("ucode=scan", "ucode=scan loglvl=all"), xen_words=(*CONVERGED.xen_words, "loglvl=all"))
    assert plan.reboot_reasons(SETTINGS, moved, after) == []
    assert plan.steps(SETTINGS, moved, TEXTS | {render.GRUB_DROP_IN: after}).actions() == []


def test_a_host_whose_xen_somebody_else_starts_needs_no_reboot():
    settings = render.Settings(896, 1, xen_options=("console=com1", "com1=115200,8n1", "cpuidle=0", "spec-ctrl=no"),
                               linux_options=("console=hvc0",))
    host = replace(
        CONVERGED, grub_cfg="",
        xen_words=("dom0_mem=896M,max:896M", "dom0_max_vcpus=1", "console=com1", "com1=115200,8n1", "loglvl=all", "guest_loglvl=all",
                   "noreboot", "cpuidle=0", "spec-ctrl=no"),
        linux_words=("root=/dev/vda", "rw", "console=hvc0", "net.ifnames=0", "loglevel=4", "mitigations=off", "systemd.hostname=xen01"))
    drop_in = render.grub_drop_in(settings).content
    for text in (None, drop_in, render.grub_drop_in(settings, DROP_IN).content):
        assert plan.reboot_reasons(settings, host, text) == []


@pytest.mark.parametrize(("drop_in", "words"), [
    (None, render.Words()), ("", render.Words()), ("XEN_OVERRIDE_GRUB_DEFAULT=0\n", render.Words()),
    ('GRUB_CMDLINE_XEN="a b=c"\nGRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT=""\n', render.Words(xen=("a", "b=c"))),
])
def test_words_of_a_drop_in(drop_in, words):
    assert render.words_in(drop_in) == words


def test_what_a_person_wrote_into_the_drop_in_breaks_no_comment():
    text = render.grub_drop_in(SETTINGS, 'GRUB_CMDLINE_XEN="$(id) a`b` fine dom0_mem=1G"\n').content
    assert render.words_in(text).earlier_xen == ("fine",)


@pytest.mark.parametrize(("before", "after"), [("", "gzio"), ("luks lvm", "luks lvm gzio")])
def test_grub_loads_what_reads_a_compressed_xen_beside_what_it_loads(tmp_path, before, after):
    file = tmp_path / "00-xenfold.cfg"
    file.write_text(render.grub_drop_in(SETTINGS).content)
    script = f'GRUB_PRELOAD_MODULES="{before}"; . {file}; echo "$GRUB_PRELOAD_MODULES"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout == after + "\n"


@pytest.mark.parametrize(("change", "reason"), [
    ({"xen_words": ("dom0_mem=896M,max:896M", "dom0_max_vcpus=1")}, "Xen was started without ucode=scan"),
    ({"xen_words": (*CONVERGED.xen_words, "dom0_vcpus_pin")}, "Xen was started with dom0_vcpus_pin, which is not asked for"),
    ({"xen_words": ("dom0_mem=1G", *CONVERGED.xen_words)}, "Xen was started with dom0_mem=1G, which is not asked for"),
    ({"linux_words": ("root=UUID=1", "ro")}, "the dom0 kernel was started without console=hvc0"),
    ({"dom0_vcpus": 2}, "dom0 has 2 vCPUs instead of 1"),
    ({"dom0_memory_mib": 700}, "dom0 has 700 MiB of memory instead of 896"),
])
def test_what_waits_for_a_reboot_is_named(change, reason):
    assert plan.reboot_reasons(SETTINGS, replace(CONVERGED, **change), DROP_IN) == [reason]


@pytest.mark.parametrize(("menu", "right"), [
    (MENU, True),
    (MENU.replace("dom0_mem=896M,max:896M", "dom0_mem=512M,max:512M"), False),
    (MENU.replace('default="Debian GNU/Linux, with Xen hypervisor"', 'default="0"'), False),
    (MENU.replace("menuentry 'Debian GNU/Linux, with Xen hypervisor'", "menuentry 'Something else'"), False),
    ("", False),
    (MENU.replace("dom0_max_vcpus=1", "dom0_max_vcpus=1 dom0_max_vcpus=4"), False),
    (MENU.replace("dom0_max_vcpus=1 ucode=scan", "ucode=scan dom0_max_vcpus=1"), False),
    (MENU.replace(" ucode=scan", ""), False),
    (MENU.replace(" ro net.ifnames=0 console=hvc0", " ro quiet"), False),
    (MENU.replace("${xen_rm_opts}", "dom0_vcpus_pin"), False),
    (MENU.replace("${xen_rm_opts}", "loglvl=all"), True),
    # Another language, as grub-mkconfig quotes it; what counts is what the entry loads.
    (MENU.replace("'Debian GNU/Linux, with Xen hypervisor'", "'Debian GNU/Linux, avec l'\\''hyperviseur Xen'").replace(
        '"Debian GNU/Linux, with Xen hypervisor"', '"Debian GNU/Linux, avec l\'hyperviseur Xen"'), True),
    (MENU.replace('default="Debian GNU/Linux, with Xen hypervisor"', 'default="Debian GNU/Linux"'), False),
    (MENU.replace('default="Debian GNU/Linux, with Xen hypervisor"', 'default="${saved_entry}"'), False),
    (MENU.replace("\tmultiboot2 /boot/xen-4.17-amd64.gz", "\tlinux /boot/vmlinuz", 1), False),
])
def test_the_menu_is_judged_by_what_it_boots(menu, right):
    assert plan.menu_is_right(menu, SETTINGS) is right


@pytest.mark.parametrize(("change", "kernel_comes", "word"), [
    ({"submenus_disabled": True}, False, "GRUB_DISABLE_SUBMENU"),
    ({"secure_boot": True}, False, "Secure Boot"),
    ({"capable_kernels": ()}, False, "CONFIG_XEN_DOM0"),
    ({"missing_packages": ("xen-system-amd64",), "boot_free_mib": 31}, False, "/boot has 31 MiB of room, 32 MiB are needed for Xen."),
    ({"missing_packages": ("xen-system-amd64",), "boot_free_mib": 159}, True, "160 MiB are needed for Xen and a kernel"),
    ({"late_default": ("zz.cfg", "saved")}, False, "GRUB_DEFAULT=saved in /etc/default/grub.d/zz.cfg is read after Debian's xen.cfg"),
    ({"late_default": ("zz.cfg", "0")}, False, "GRUB_DEFAULT=0 in /etc/default/grub.d/zz.cfg"),
    ({"next_entry": "Debian GNU/Linux"}, False, "the next boot is set to 'Debian GNU/Linux' (next_entry in /boot/grub/grubenv"),
])
def test_obstacles_are_named(change, kernel_comes, word):
    found = state.obstacles(replace(CONVERGED, **change), kernel_comes)
    assert len(found) == 1
    assert word in found[0]
    assert state.obstacles(CONVERGED, kernel_comes) == []


@pytest.mark.parametrize("change", [
    {"boot_free_mib": 0}, {"missing_packages": ("xen-system-amd64",), "boot_free_mib": 32},
    {"late_default": ("zz.cfg", "Debian GNU/Linux, with Xen hypervisor")}, {"next_entry": "Debian GNU/Linux, with Xen hypervisor"},
    {"next_entry": "Advanced options for Debian GNU/Linux (with Xen hypervisor)>"
                   "Debian GNU/Linux, with Xen 4.17-amd64 and Linux 6.1.0-1-amd64 (recovery mode)"},
])
def test_what_looks_like_an_obstacle_and_is_none(change):
    assert state.obstacles(replace(CONVERGED, **change), False, SETTINGS) == []


@pytest.mark.parametrize(("change", "host", "text"), [
    ({"memory_mib": 4096}, {"memory_mib": 4095}, "memory_mib: value 4096, allowed at most 4095: this machine has 4095 MiB."),
    ({"vcpus": 3}, {"cpus": 2}, "vcpus: value 3, allowed at most 2: this machine has 2 CPUs."),
    ({"time": "chrony"}, {"time_daemons": ("ntpsec",)}, "time: value chrony, allowed none while ntpsec keeps the time here"),
    ({"firewall": firewall.Firewall(True, ("10.0.0.0/8",))}, {}, "firewall.enabled: value True, allowed over SSH alone"),
    ({"memory_mib": 4096, "vcpus": 2}, {"memory_mib": 4096, "cpus": 2}, ""),
    ({"memory_mib": 4096, "vcpus": 2}, {}, ""),
    ({"time": "chrony"}, {"timesyncd": True}, ""),
    ({"time": "chrony", "ntp_servers": ("a", "::1")}, {"chrony_reads_sources": False},
     "ntp_servers: value a, ::1, allowed none while /etc/chrony/chrony.conf has no line 'sourcedir /etc/chrony/sources.d'"),
    ({"time": "chrony", "ntp_servers": ("a",)}, {}, ""),
    ({"xen_options": ("iommu=verbose,required",)}, {"iommu": False},
     "xen_options: value iommu=verbose,required, allowed on a machine with an IOMMU: this one has none"),
    ({"xen_options": ("iommu=force",)}, {"iommu": False}, "xen_options: value iommu=force, allowed"),
    ({"xen_options": ("iommu=required",)}, {"iommu": True}, ""),
    ({"xen_options": ("iommu=required",)}, {}, ""),
    ({"xen_options": ("iommu=verbose",)}, {"iommu": False}, ""),
    ({"time": "chrony"}, {"chrony_reads_sources": False}, ""),
    ({}, {"time_daemons": ("ntpsec",)}, ""),
])
def test_settings_that_the_machine_cannot_have_are_refused(change, host, text):
    found = state.obstacles(replace(CONVERGED, **host), False, replace(SETTINGS, **change))
    assert len(found) == bool(text)
    assert not text or text in found[0]


XEN = (("libxenmisc4.17", False), ("xen-hypervisor-4.17-amd64", False), ("xen-utils-4.17", True))


@pytest.mark.parametrize(("hold", "missing", "lines"), [
    (None, (), []),
    (None, ("xen-system-amd64",), ["install package xen-system-amd64"]),
    (True, (), ["hold packages: libxenmisc4.17, xen-hypervisor-4.17-amd64"]),
    (True, ("xen-system-amd64",), ["install package xen-system-amd64",
                                   "hold packages: libxenmisc4.17, xen-hypervisor-4.17-amd64, those of Xen that come now"]),
    (False, (), ["release packages: xen-utils-4.17"]),
    # Its dependencies may be Xen's.
    (True, ("qemu-utils",), ["install package qemu-utils",
                             "hold packages: libxenmisc4.17, xen-hypervisor-4.17-amd64, those of Xen that come now"]),
    (False, ("qemu-utils",), ["install package qemu-utils", "release packages: xen-utils-4.17"]),
])
def test_holds(hold, missing, lines):
    host = replace(CONVERGED, xen_packages=XEN, missing_packages=missing)
    assert [action.line() for action in plan.steps(replace(SETTINGS, hold=hold), host, TEXTS).actions()] == lines


@pytest.mark.parametrize(("hold", "new"), [(True, True), (False, False), (None, False)])
def test_what_an_interrupted_installation_brings_is_held(hold, new):
    host = replace(CONVERGED, unfinished_packages=True)
    assert plan.steps(replace(SETTINGS, hold=hold), host, TEXTS).hold_new is new
    assert not plan.steps(replace(SETTINGS, hold=hold), CONVERGED, TEXTS).hold_new


@pytest.mark.parametrize(("files", "reads"), [
    ({}, True), ({"conf.d/a.conf": ""}, True),
    ({"chrony.conf": "pool 2.debian.pool.ntp.org iburst\nsourcedir /run/chrony-dhcp\nsourcedir /etc/chrony/sources.d\n"}, True),
    ({"chrony.conf": "  SourceDir /etc/chrony/sources.d/\n"}, True),
    ({"chrony.conf": "confdir /etc/chrony/conf.d\n", "conf.d/a.conf": "sourcedir /etc/chrony/sources.d\n"}, True),
    ({"chrony.conf": ""}, True), ({"chrony.conf": "# sourcedir /etc/chrony/sources.d\n"}, False),
    ({"chrony.conf": "sourcedir /run/chrony-dhcp\nconfdir /etc/chrony/sources.d\n"}, False),
    ({"chrony.conf": "pool a\nconfdir /etc/chrony/conf.d\n", "conf.d/a.txt": "sourcedir /etc/chrony/sources.d\n"}, False),
])
def test_whether_chrony_reads_our_sources(files, reads, tmp_path: Path):
    (tmp_path / "conf.d").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert state._chrony(tmp_path) == (reads, files.get("chrony.conf") == "")


WITH_CHRONY = replace(SETTINGS, time="chrony", ntp_servers=("ntp1.example.org", "2001:db8::1"))
SOURCES = {file.path: file.content for file in render.chrony_sources(WITH_CHRONY, False)}
LOAD = f"load file {render.CHRONY_SOURCES}: into the running chronyd"
START = "start service chrony: now and with the host"
MEND = "write file /etc/chrony/chrony.conf: as its package has it, since it is empty"


@pytest.mark.parametrize(("settings", "host", "texts", "lines"), [
    (WITH_CHRONY, {"missing_packages": ("chrony",), "timesyncd": True}, {},
     ["install package chrony: apt removes systemd-timesyncd for it", START, LOAD]),
    (WITH_CHRONY, {"chrony_runs": True}, SOURCES, []),
    (WITH_CHRONY, {}, SOURCES, [START]),
    # Cut off between the sources and the copy of what was loaded.
    (WITH_CHRONY, {"chrony_runs": True}, {render.CHRONY_SOURCES: SOURCES[render.CHRONY_SOURCES]}, [LOAD]),
    # Without servers the distribution's file is all there is; what was ours is emptied.
    (replace(SETTINGS, time="chrony"), {"chrony_runs": True}, {}, []),
    (replace(SETTINGS, time="chrony"), {"chrony_runs": True}, SOURCES, [LOAD]),
    (replace(WITH_CHRONY, time="none"), {"timesyncd": True}, SOURCES, []),
    # Power was cut after the package's own script had made the file, and before that was on the disk.
    (WITH_CHRONY, {"chrony_lost": True}, {}, [MEND, START, LOAD]),
    (WITH_CHRONY, {"chrony_runs": True, "chrony_lost": True}, SOURCES, [MEND, START]),
])
def test_chrony(settings, host, texts, lines):
    assert [action.line() for action in plan.steps(settings, replace(CONVERGED, **host), TEXTS | texts).actions()] == lines


def test_sources_are_preferred_beside_those_of_the_distribution():
    assert SOURCES[render.CHRONY_SOURCES].splitlines()[1:] == [
        "server ntp1.example.org iburst prefer", "server 2001:db8::1 iburst prefer"]
    assert len(set(SOURCES.values())) == 1


@pytest.mark.parametrize(("logs", "words", "lines"), [
    (True, render.XENCONSOLED_WORDS, []),
    (True, (), ["restart xenconsoled: so that guests' consoles are logged; guests keep running"]),
    (False, render.XENCONSOLED_WORDS, ["restart xenconsoled: so that guests' consoles are not logged; guests keep running"]),
    (False, ("--pid-file=/run/xenconsoled.pid",), []),
])
def test_logs_of_consoles(logs, words, lines):
    settings = replace(SETTINGS, guest_logs=logs)
    texts = {file.path: file.content for file in [render.grub_drop_in(settings), *render.configuration(settings)]}
    host = replace(CONVERGED, xenconsoled_words=words, guests=("web01",))
    assert [action.line() for action in plan.steps(settings, host, texts).actions()] == lines
    assert ("--log=guest" in texts[render.XEN_DEFAULTS]) is logs


FILTER = firewall.Firewall(True, ("10.0.0.0/8",))
FILTER_TEXTS = {file.path: file.content for file in firewall.files(FILTER)}
FILTERED = {"firewall_marks": firewall.rule_marks(FILTER), "firewall_linked": True}


@pytest.mark.parametrize(("wanted", "host", "texts", "lines"), [
    (FILTER, {}, {}, ["load packet filter of dom0: there is none yet"]),
    (FILTER, FILTERED, FILTER_TEXTS, []),
    (FILTER, FILTERED | {"firewall_marks": None}, FILTER_TEXTS, ["load packet filter of dom0: there is none yet"]),
    (FILTER, FILTERED | {"firewall_marks": (None,)}, FILTER_TEXTS,
     ["load packet filter of dom0: the live rules are not those that are asked for"]),
    (FILTER, FILTERED, FILTER_TEXTS | {firewall.UNIT_FILE: ""},
     ["load packet filter of dom0: its files are not those that are asked for"]),
    (FILTER, FILTERED | {"firewall_linked": False}, FILTER_TEXTS, ["load packet filter of dom0: it is not loaded when the host starts"]),
    (firewall.Firewall(), {}, {}, []),
    (firewall.Firewall(), FILTERED, FILTER_TEXTS, ["remove packet filter of dom0: it is not asked for"]),
    # Cut off before the last file went.
    (firewall.Firewall(), {}, {firewall.RULES: ""}, ["remove packet filter of dom0: it is not asked for"]),
])
def test_the_packet_filter(wanted, host, texts, lines):
    steps = plan.steps(replace(SETTINGS, firewall=wanted), replace(CONVERGED, **host), TEXTS | texts)
    assert [action.line() for action in steps.actions()] == lines


def test_packages_that_settings_need_come_with_the_others():
    assert SETTINGS.packages(["a"]) == ["a"]
    assert replace(WITH_CHRONY, firewall=FILTER).packages(["a", "chrony"]) == ["a", "chrony", "nftables"]


@pytest.mark.parametrize(("change", "text"), [
    ({"ntp_servers": ("ntp1.example.org",)}, "ntp_servers: value ['ntp1.example.org'], allowed [] while time is none: only chrony"),
    ({"time": "chrony", "ntp_servers": (":",)}, "ntp_servers: value ':', allowed names"),
    ({"time": "chrony", "ntp_servers": ("::1%eth0",)}, "ntp_servers: value '::1%eth0', allowed names"),
    ({"time": "chrony", "ntp_servers": (1,)}, "ntp_servers: value 1, allowed names"),
    ({"xen_options": ("--",)}, "xen_options: value '--', allowed words for Xen; it gives those after '--' to the dom0 kernel"),
    ({"time": "chrony", "ntp_servers": ("a b",)}, "ntp_servers: value 'a b', allowed names and addresses"),
    ({"time": "chrony", "ntp_servers": ("-x",)}, "ntp_servers: value '-x', allowed names"),
    ({"time": "chrony", "ntp_servers": ("a\n",)}, "ntp_servers: value 'a\\n', allowed names"),
    ({"firewall": firewall.Firewall(True)}, "firewall.ssh_from: value [], allowed one or more networks"),
    ({"memory_mib": 100}, "memory_mib: value 100, allowed a whole number, 512 to 12582912 MiB"),
    ({"memory_mib": 10**15}, "memory_mib: value 1000000000000000, allowed a whole number, 512"),
    ({"memory_mib": True}, "memory_mib: value True, allowed a whole number"),
    ({"vcpus": 0}, "vcpus: value 0, allowed a whole number, 1 to 128"),
    ({"vcpus": 129}, "vcpus: value 129, allowed"),
    ({"shutdown_wait_seconds": -1}, "shutdown_wait_seconds: value -1, allowed a whole number, 1 to 86400 seconds"),
    ({"shutdown_wait_seconds": 0}, "shutdown_wait_seconds: value 0, allowed"),
    ({"xen_options": ('a"b',)}, "xen_options: value 'a\"b', allowed plain words"),
    ({"xen_options": ("a\n",)}, "xen_options: value 'a\\n', allowed plain words"),
    ({"linux_options": (1,)}, "linux_options: value 1, allowed plain words"),
    ({"xen_options": ("",)}, "xen_options: value '', allowed plain words"),
    ({"xen_options": ("dom0_mem=1G",)}, "xen_options: value 'dom0_mem=1G', allowed words that have no option of their own"),
    ({"linux_options": ("quiet splash",)}, "linux_options: value 'quiet splash', allowed plain words"),
    ({"xl_options": {"Auto": "x"}}, "xl_options: value 'Auto', allowed settings of xl.conf"),
    ({"xl_options": {"auto\n": "x"}}, "xl_options: value 'auto\\n', allowed settings"),
    ({"xl_options": {1: "x"}}, "xl_options: value 1, allowed settings"),
    ({"xl_options": {"vif.default.script": 'x"'}}, "xl_options.vif.default.script: value 'x\"', allowed a text without quotes"),
    ({"xl_options": {"lockfile": "a\n"}}, "xl_options.lockfile: value 'a\\n', allowed a text"),
    ({"xl_options": {"lockfile": None}}, "xl_options.lockfile: value None, allowed a text"),
    ({"xl_options": {"claim_mode": 1.0}}, "xl_options.claim_mode: value 1.0, allowed a text"),
    ({"xl_options": {"lockfile": ["a"]}}, "xl_options.lockfile: value ['a'], allowed a text"),
])
def test_bad_settings_are_named_with_what_is_allowed(change, text):
    errors = render.check(replace(SETTINGS, **change))
    assert len(errors) == 1
    assert text in errors[0]


@pytest.mark.parametrize("change", [
    {"memory_mib": 512, "vcpus": 128, "shutdown_wait_seconds": 1}, {"memory_mib": 12 * 2**20, "shutdown_wait_seconds": 86400},
    {"time": "chrony", "ntp_servers": ("::1", "::ffff:10.0.0.1", "fd00::", "10.0.0.1", "ntp.example.org")}, {"time": "chrony"},
    {"xen_options": ("--x",), "linux_options": ("--",)},
    {"xl_options": {"autoballoon": "off", "claim_mode": 1, "run_hotplug_scripts": True, "vif.default.bridge": ""}},
])
def test_good_settings_pass(change):
    assert render.check(replace(SETTINGS, **change)) == []


@given(st.integers(-10, 20000) | st.sampled_from([True, None, 1.0, "512", 12 * 2**20 + 1]), st.integers(-1, 200))
def test_the_estate_and_the_role_take_the_same_sizes(memory_mib, vcpus):
    role = not render.check(replace(SETTINGS, memory_mib=memory_mib, vcpus=vcpus))
    assert (schema.DOM0["dom0_memory_mib"].check(memory_mib) and schema.DOM0["dom0_vcpus"].check(vcpus)) is role


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
    assert packages.installed("grub-common ii \nxen-utils rc \nlinux hi \nhalf iU \n") == {"grub-common", "linux"}
    assert state.kernel_lines(MENU)[0] == ["placeholder", "root=UUID=1", "ro", "net.ifnames=0", "console=hvc0"]
    assert len(state.kernel_lines(MENU)) == len(state.hypervisor_lines(MENU)) == 2
    assert state.kernel_lines("module2 /boot/vmlinuz quiet\n") == []


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
    assert found.linux_words == ()
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cmdline").write_text("root=/dev/vda  ro console=hvc0\n")
    assert state.read(Silent(), [], tmp_path).linux_words == ("root=/dev/vda", "ro", "console=hvc0")


@pytest.mark.parametrize(("menu", "drop_in", "old"), [
    (None, None, False), (None, 100, False), (100, None, False), (100, 110, True), (110, 100, False), (100, 100, False),
    # A menu that was made right after the drop-in, on a file system that keeps even seconds.
    (100, 101.9, False),
])
def test_the_age_of_the_menu(menu, drop_in, old, tmp_path: Path):
    for name, seconds in (("menu", menu), ("drop_in", drop_in)):
        if seconds is not None:
            (tmp_path / name).touch()
            os.utime(tmp_path / name, (seconds, seconds))
    assert state._older(tmp_path / "menu", tmp_path / "drop_in") is old


@pytest.mark.parametrize(("menu", "drop_in"), [(100, 4000), (None, 100), (100, None)])
def test_a_menu_made_after_the_clock_stepped_back_is_not_old(menu, drop_in, tmp_path: Path):
    paths = [tmp_path / state.GRUB_CFG.lstrip("/"), tmp_path / render.GRUB_DROP_IN.lstrip("/")]
    for path, seconds in zip(paths, (menu, drop_in), strict=True):
        path.parent.mkdir(parents=True)
        if seconds is not None:
            path.touch()
            os.utime(path, (seconds, seconds))
    assert state._older(*paths) is (menu is not None and drop_in is not None)
    carry_out.date_drop_in(tmp_path)
    assert not state._older(*paths)
    assert state.menu_time(tmp_path) == (None if menu is None else menu * 10**9)
    assert [path.exists() for path in paths] == [menu is not None, drop_in is not None]


TASKS = yaml.safe_load((Path(__file__).parents[3] / "roles/dom0/tasks/main.yml").read_text())


ALONE = "dom0_reboot: allowed while no guest of another host works with the copy of its disk on this one alone; see /proc/drbd\n"


@pytest.mark.parametrize(("dom0", "listing", "code", "said"), [
    (False, None, 0, ""),
    (True, "Name ID Mem VCPUs\tState\tTime(s)\nDomain-0   0 893 1 r----- 31.0\n", 1, ALONE),
    (True, "Name ID Mem VCPUs\tState\tTime(s)\nDomain-0   0 893 1 r----- 31.0\n", 0, ""),
    (True, "Name ID Mem VCPUs\tState\tTime(s)\nDomain-0   0 893 1 r----- 31.0\nweb01  1 128 1 -b---- 2.1\nweb02 2 128 1 -b---- 2.1\n", 1,
     "dom0_reboot: allowed while no guest runs here; now there are: web01 web02\n"),
    # Nobody knows what runs when xl does not answer.
    (True, None, 1, "xl: cannot open\n"),
])
def test_the_reboot_asks_again_for_guests(dom0, listing, code, said, tmp_path: Path):
    command = next(task for task in TASKS[1]["block"] if "ansible.builtin.reboot" in task)["ansible.builtin.reboot"]["reboot_command"]
    alone = said == ALONE
    # As the reboot action takes it apart.
    assert command.split(" ", 1)[0] == "/bin/sh" and "\n" not in command
    (tmp_path / "list").write_text(listing or "")
    for name, script in (
        # Of DRBD's file nothing is found, or that a guest has its disk over the network alone.
        ("grep", f'case "$*" in */proc/drbd) exit {0 if alone else 2};; esac; exit {0 if dom0 else 2}'),
        ("shutdown", f'printf "%s|" "$@" > {tmp_path}/reboots'),
        ("xl", f"cat {tmp_path}/list" if listing else "echo xl: cannot open >&2; exit 1"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    # Through a second shell, as with become.
    answer = subprocess.run(["/bin/sh", "-c", f"/bin/sh -c {shlex.quote(command)}"], env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
                            capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (code, said)
    reboots = tmp_path / "reboots"
    assert (reboots.read_text() if reboots.exists() else "") == ("" if code else "-r|now|Xenfold starts this host with Xen|")


def test_only_the_proof_is_tried_again():
    configure = yaml.safe_load((Path(__file__).parents[3] / "roles/dom0/tasks/configure.yml").read_text())
    assert (configure[0]["retries"], configure[0]["until"]) == ("{{ _dom0_prove_retries | default(0) }}", "_dom0_result is not failed")
    assert "vars" not in TASKS[0]
    assert TASKS[1]["block"][-1]["vars"] == {"_dom0_prove": True, "_dom0_prove_retries": 12}


@pytest.mark.parametrize(("text", "entry"), [
    ("# GRUB Environment Block\nsaved_entry=a\nnext_entry=Debian GNU/Linux\n######", "Debian GNU/Linux"),
    ("# GRUB Environment Block\nsaved_entry=a\nnext_entry=\n######", ""), ("", ""),
])
def test_what_the_next_boot_alone_starts(text, entry):
    assert state.next_entry(text) == entry


@pytest.mark.parametrize(("files", "found"), [
    ([("00-xenfold.cfg", "GRUB_DEFAULT=saved\n"), ("xen.cfg", "GRUB_DEFAULT=$( \\\n")], None),
    ([("zz.cfg", "# GRUB_DEFAULT=saved\nGRUB_DEFAULT=\"saved\"\n")], ("zz.cfg", "saved")),
    ([("y.cfg", "GRUB_DEFAULT=0\n"), ("zz.cfg", "export GRUB_DEFAULT='a b'\n")], ("zz.cfg", "a b")),
    ([("zz.cfg", "GRUB_DEFAULT=0 # not xen\n")], ("zz.cfg", "0")),
    ([("zz.cfg", "GRUB_DEFAULT=a#b\t#c\n")], ("zz.cfg", "a#b")),
    ([("zz.cfg", "GRUB_DEFAULT=\"with Xen # 1\" # as ever\n")], ("zz.cfg", "with Xen # 1")),
    ([("zz.cfg", "GRUB_DEFAULT= # none\n")], ("zz.cfg", "")),
])
def test_a_default_that_is_read_after_debians(files, found):
    assert state.late_default(files) == found


def test_what_the_machine_has_is_read_from_it(tmp_path: Path):
    class Answers:
        def __init__(self) -> None:
            self.asked: list[str] = []

        def read(self, argv, ok=(0,), data=None):
            self.asked.append(argv[0])
            out = {
                "dpkg-query": "chrony ii \nnftables ii \nntpsec rc \nsystemd-timesyncd rc \nxen-utils-4.17 hi \nlibxenmisc4.17 ii \n",
                "systemctl": "ActiveState=active\nUnitFileState=enabled\n", "xl": "total_memory : 2559\nnr_cpus : 2\n",
            }.get(argv[0], "")
            return Result(1 if argv[0] == "nft" else 0, out, "")

    for path, text in (("proc/meminfo", "MemTotal:  2097152 kB\n"), ("sys/devices/system/cpu/present", "0-3,8\n"), ("boot/a", "")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    plain = Answers()
    found = state.read(plain, ["chrony"], tmp_path)
    assert (found.memory_mib, found.cpus, found.xen_packages) == (2048, 5, (("libxenmisc4.17", False), ("xen-utils-4.17", True)))
    assert (found.time_daemons, found.timesyncd, found.client) == ((), False, None)
    assert found.boot_free_mib is not None
    # What is not asked for is not looked at.
    assert plain.asked == ["dpkg-query"]
    (tmp_path / "proc/xen").mkdir()
    (tmp_path / "proc/xen/capabilities").write_text("control_d\n")
    dom0 = Answers()
    found = state.read(dom0, ["chrony"], tmp_path, replace(WITH_CHRONY, firewall=FILTER))
    assert (found.memory_mib, found.cpus, found.chrony_runs, found.firewall_marks) == (2559, 2, True, None)
    assert dom0.asked == ["dpkg-query", "xl", "xl", "systemctl", "nft"]
    main = tmp_path / "etc/chrony/chrony.conf"
    main.parent.mkdir(parents=True)
    for text, asked_for, reads, gone in (
            ("", WITH_CHRONY, True, True), ("", SETTINGS, True, False), ("pool b\n", WITH_CHRONY, False, False)):
        main.write_text(text)
        found = state.read(dom0, ["chrony"], tmp_path, asked_for)
        assert (found.chrony_reads_sources, found.chrony_lost) == (reads, gone)


@pytest.mark.parametrize("case", command_cases.load(Path(__file__).with_name("cases.yml")))
def test_module(case):
    command_cases.run("dom0", case)


def test_the_rotation_of_logs_is_one_balanced_block():
    text = next(file.content for file in render.configuration(SETTINGS) if file.path == render.LOGROTATE)
    assert text.count("{") == text.count("}") == 1
    assert text.endswith("}\n")


def test_packages_come_between_the_drop_in_and_the_other_files(monkeypatch: pytest.MonkeyPatch):
    done: list[str] = []

    class Recorder:
        def change(self, argv, ok=(0,), data=None):
            done.append(" ".join(word for word in argv if "=" not in word and not word.startswith("-")))
            return Result(0, "", "")

    monkeypatch.setattr(carry_out, "write_atomically", lambda file: done.append(file.path))
    monkeypatch.setattr(carry_out.os, "makedirs", lambda path, exist_ok: done.append(path))
    files = [render.grub_drop_in(SETTINGS)], render.configuration(SETTINGS)[:1]
    carry_out.apply(Recorder(), plan.Steps(True, files[0], ["xen-system-amd64"], files[1], True, False))
    assert done == ["env dpkg", render.GRUB_DROP_IN, "env dpkg", "env apt-get update", "env apt-get install xen-system-amd64",
                    render.XL_CONF, render.CONSOLE_LOGS, "update-grub"]


def test_new_steps_come_in_an_order_that_a_cut_leaves_finishable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    done: list[str] = []

    class Recorder:
        def read(self, argv, ok=(0,), data=None):
            done.append(" ".join(argv[:2]))
            return Result(0, "xen-utils-4.17 ii \nlibxenmisc4.17 ii \nchrony ii \n", "")

        def change(self, argv, ok=(0,), data=None):
            done.append(" ".join(argv) + (f" < {data!r}" if data and argv[0] == "dpkg" else ""))

    monkeypatch.setattr(carry_out, "write_atomically",
                        lambda file: done.append(f"{file.path} with {file.content!r}" if file.path == render.CHRONY_CONF else file.path))
    monkeypatch.setattr(carry_out.os, "makedirs", lambda path, exist_ok: None)
    (tmp_path / "chrony.conf").write_text("pool a\n")
    monkeypatch.setattr(render, "CHRONY_DEFAULT", str(tmp_path / "chrony.conf"))
    settings = replace(WITH_CHRONY, hold=True, firewall=FILTER)
    host = replace(CONVERGED, xen_packages=(("xen-utils-4.17", False),), chrony_lost=True,
                   client=firewall.Client(ipaddress.ip_address("10.0.0.1"), 22))
    carry_out.apply(Recorder(), replace(plan.steps(settings, host, TEXTS), hold_new=True))
    assert done == [
        "dpkg-query -W", "dpkg --set-selections < 'libxenmisc4.17 hold\\nxen-utils-4.17 hold\\n'",
        "systemctl stop chrony.service", f"{render.CHRONY_CONF} with 'pool a\\n'", render.CHRONY_SOURCES,
        "systemctl enable --now chrony.service", "chronyc reload sources", render.CHRONY_LOADED,
        # Checked before anything of it is written.
        "nft -c", firewall.RULES, firewall.UNIT_FILE, "systemctl daemon-reload", "systemctl enable xenfold-firewall.service",
        "systemctl restart xenfold-firewall.service",
    ]


def test_no_step_touches_xendomains(monkeypatch: pytest.MonkeyPatch):
    done: list[str] = []

    class Recorder:
        def read(self, argv, ok=(0,), data=None):
            return Result(0, "", "")

        def change(self, argv, ok=(0,), data=None):
            done.append(" ".join(argv))
            return Result(0, "", "")

        def tool(self, name):
            return True

    monkeypatch.setattr(carry_out, "write_atomically", lambda file: None)
    monkeypatch.setattr(carry_out.os, "makedirs", lambda path, exist_ok: None)
    monkeypatch.setattr(carry_out.os.path, "lexists", lambda path: False)
    settings = replace(WITH_CHRONY, hold=True, firewall=FILTER)
    host = replace(CONVERGED, missing_packages=("xen-system-amd64",), xenconsoled_words=(), guests=("web01",))
    carry_out.apply(Recorder(), replace(plan.steps(settings, host, {}), remove_firewall=True, update_grub=True, finish_packages=True))
    assert "env SYSTEMCTL_SKIP_REDIRECT=1 /etc/init.d/xen start" in done
    assert not any("xendomains" in line for line in done)

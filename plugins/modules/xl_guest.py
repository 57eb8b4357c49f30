#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: xl_guest
short_description: Keep the guests of a Xen host defined, started and sized
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Takes all guests of a host at once, writes their C(xl.cfg), keeps one autostart link for each that starts with the host,
    starts those that do not run, and changes memory, vCPUs, weight, cap, CPUs, CPU pool, disks and networks of those that do.
  - Checks every definition strictly and lets xl try out every configuration before anything is written.
  - Keeps limits of disks and networks in C(/etc/xenfold/limits.json) for the service C(xenfold-limits), which gives them to a guest
    whenever it connects, and reads back what the kernel holds. Neither is there while no guest has limits.
  - Never pauses, destroys or removes a guest. What a running guest can only take up when it gives up a device, reboots or starts anew is
    returned in RV(pending) and warned of, until O(detach), O(reboot) or O(recreate) consents to it for that guest.
  - A guest is not started while a domain of its name is on the host in any state, nor while it is on its way to or from the
    host, nor before its disks, kernel and bridges are there, nor with a disk that another guest of the host has in use.
  - Fails for a guest that it has rebooted or shut down and that does not run again, before the next is touched; what it ran with stays in
    O(config_dir) as C(NAME.before) until the guest runs with what is stored.
  - What a killed creation has left is taken away before the guest is started - a domain with the guest's UUID that never ran and has no
    configuration yet, whose creation a run of this module began and no xl goes on with.
  - Guests of the host that are not in the list are left alone and returned in RV(unmanaged).
  - In check mode a host on which Xen does not run yet counts as a host without guests.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  guests:
    description: All guests that are defined on this host.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the guest.
        type: str
        required: true
      uuid:
        description: UUID of the guest. Derived from the name when not given.
        type: str
      state:
        description: V(defined) stores the configuration without starting the guest; it does not stop one that runs.
        type: str
        choices: [running, defined]
        default: running
      type:
        description: Kind of virtualization.
        type: str
        choices: [pvh, hvm, pv]
        default: pvh
      vcpus:
        description: vCPUs that are on.
        type: int
        default: 1
      maxvcpus:
        description: vCPUs that can be switched on while the guest runs. O(guests[].vcpus) when not given.
        type: int
      memory_mib:
        description: Memory in MiB. Needed; a workload without it is for planning only.
        type: int
      maxmem_mib:
        description: Memory in MiB that the guest can grow to while it runs. O(guests[].memory_mib) when not given.
        type: int
      cpus:
        description:
          - CPUs of the host that the guest may use, as V(0-3,^1) or V(nodes:0); V(all) takes a limit away. Left as it is when not given.
        type: str
      cpu_weight:
        description: Share of CPU time against other guests.
        type: int
        default: 256
      cap_percent:
        description: Most CPU time, 100 for one CPU; 0 for no cap.
        type: int
        default: 0
      cpu_pool:
        description: CPU pool of the guest, which has to be there. Left as it is when not given.
        type: str
      cpuid:
        description:
          - What the guest sees of the CPU, as lines of the list C(cpuid) of xl.cfg(5), each a leaf of its own - V(0) hides a bit, V(1)
            shows it, V(x) leaves it as Xen has it, V(k) takes it from the host. O(cpuid) when not given; V([]) for none of either.
          - Not for guests of type V(pv).
        type: list
        elements: str
      disks:
        description: Disks, each a volume by O(guests[].disks[].volume_group) or a device or file by O(guests[].disks[].path).
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the disk; the volume is called after guest and disk, as C(web01-root).
            type: str
          size_gib:
            description: Size of the volume in GiB, for the module that makes it.
            type: float
          volume_group:
            description: Volume group of the volume.
            type: str
          drbd_minor:
            description:
              - Makes the disk a replicated one, for M(xenfold.consolidation.drbd_resources), which makes it. The number of its resource, 0
                to 3999, one in the whole estate. The guest has type pvh or pv.
            type: int
          image:
            description:
              - Name of the disk image that a new volume is filled with, for M(xenfold.consolidation.guest_image), which makes it. A volume
                that is there is never written.
            type: str
          path:
            description: Path of a block device or image file.
            type: str
          format:
            description: Format of an image file.
            type: str
            choices: [raw, qcow2, vhd]
            default: raw
          vdev:
            description: Device name in the guest. The next of V(xvda), V(xvdb), ... when not given.
            type: str
          access:
            description: Whether the guest may write.
            type: str
            choices: [rw, ro]
            default: rw
          cdrom:
            description:
              - Whether this is a CD, which the guest cannot write. For guests of type V(hvm), without O(guests[].disks[].path) an empty
                drive, and of type V(pv). A drive of an V(hvm) guest is the last free of V(hda) to V(hdd) when nothing else is said, and
                its medium is changed while the guest runs.
            type: bool
          backend:
            description: Name of the driver domain that serves the disk in place of dom0. With O(guests[].disks[].path), as it is there.
            type: str
          limits:
            description:
              - Most that the guest may read and write, held by cgroups on the kernel's own backend. For volumes and block devices.
            type: dict
            suboptions:
              read_mibps:
                description: MiB read in a second.
                type: int
              write_mibps:
                description: MiB written in a second.
                type: int
              read_iops:
                description: Requests to read in a second.
                type: int
              write_iops:
                description: Requests to write in a second.
                type: int
      networks:
        description: Network cards.
        type: list
        elements: dict
        default: []
        suboptions:
          bridge:
            description: Bridge of the host.
            type: str
            required: true
          mac:
            description: MAC address. Derived from the guest's name and the card's number when not given.
            type: str
          rate_mbps:
            description: Most that the guest may send, in Mbit/s.
            type: int
          receive_mbps:
            description: Most that the guest may receive, in Mbit/s.
            type: int
          min_mbps:
            description:
              - What the guest can always send over the uplink of its bridge, in Mbit/s, however much others send.
              - All minima of an uplink together may take 90 % of its speed.
            type: int
          mtu:
            description: MTU of the card.
            type: int
          backend:
            description: Name of the driver domain that has the bridge in place of dom0. Without limits of any kind.
            type: str
      pci:
        description:
          - PCI devices of the host that the guest has to itself, for the types V(hvm) and V(pv). Each has to be given up by dom0's driver
            before (C(xl pci-assignable-add)). A guest with such a device cannot be moved while it runs.
        type: list
        elements: dict
        default: []
        suboptions:
          address:
            description: Address on the host, as V(0000:03:00.0).
            type: str
            required: true
          permissive:
            description: Whether the guest may write all of the device's configuration space.
            type: bool
      driver_domain:
        description: Whether the guest serves disks or networks of other guests. It starts before them.
        type: bool
      firmware:
        description: Firmware of an HVM guest that boots by itself. V(uefi) takes Debian's package C(ovmf) on the host.
        type: str
        choices: [bios, uefi]
      boot:
        description: What the guest boots. Without it PVH and PV guests boot by their own GRUB menu, HVM guests from their
          first disk.
        type: dict
        suboptions:
          image:
            description: Name of an image with kernel and ramdisk under C(/var/lib/xenfold/images).
            type: str
          kernel:
            description: Path of a kernel on the host.
            type: str
          ramdisk:
            description: Path of a ramdisk on the host.
            type: str
          cmdline:
            description: Kernel command line, with O(guests[].boot.image) or O(guests[].boot.kernel).
            type: str
      first_boot:
        description:
          - What cloud-init in the guest is told when it boots first, by a small read-only disk (C(xvdz), data source NoCloud). It is a
            volume beside that of the guest's first disk, made by M(xenfold.consolidation.guest_image); another content is another volume.
        type: dict
        suboptions:
          hostname:
            description: Host name. The guest's name when not given.
            type: str
          ssh_keys:
            description: Public keys that may log in as the image's own user.
            type: list
            elements: str
          networks:
            description: Addresses of the guest's networks, in their order. Those without an entry are left to the image.
            type: list
            elements: dict
            suboptions:
              address:
                description: Address with the length of its prefix, as V(10.0.0.5/24).
                type: str
              gateway:
                description: Gateway.
                type: str
              nameservers:
                description: Addresses of name servers.
                type: list
                elements: str
              dhcp:
                description: Whether the network is asked for all this; then nothing else may be given.
                type: bool
          user_data:
            description: Text of cloud-init's user-data, as it is. It is never shown.
            type: str
      on_poweroff:
        description: What happens when the guest powers off.
        type: str
        choices: [destroy, restart, rename-restart, preserve]
        default: destroy
      on_reboot:
        description: What happens when the guest reboots.
        type: str
        choices: [destroy, restart, rename-restart, preserve]
        default: restart
      on_crash:
        description: What happens when the guest crashes.
        type: str
        choices: [destroy, restart, rename-restart, preserve, coredump-destroy, coredump-restart]
        default: restart
      autostart:
        description: Place in the order in which guests start with the host, 1 to 99. Not started with it when not given.
        type: int
      tsc_mode:
        description: How the guest reads the time stamp counter.
        type: str
        choices: [default, always_emulate, native, native_paravirt]
        default: default
      max_grant_frames:
        description: Grant frames, for guests with many disks and networks.
        type: int
      max_event_channels:
        description: Event channels, for guests with many vCPUs and devices.
        type: int
      localtime:
        description: Whether the guest's clock starts with local time.
        type: bool
      pvshim:
        description: Whether a PVH guest is a PV system in Xen's shim.
        type: bool
      vga:
        description: Graphics card of an HVM guest.
        type: str
        choices: [none, stdvga, cirrus, qxl]
      vnc:
        description: Whether an HVM guest's screen is served by VNC on the host's loopback address.
        type: bool
  config_dir:
    description: Directory of the configurations, as C(NAME.cfg).
    type: str
    default: /etc/xen/guests
  autostart_dir:
    description: Directory of the autostart links, as C(NN-NAME).
    type: str
    default: /etc/xen/auto
  autostart:
    description: Whether guests start with the host at all; V(false) removes the links of all guests in the list.
    type: bool
    default: true
  elsewhere:
    description:
      - What the other hosts have, as host -> guests -> state; the guests are those that M(xenfold.consolidation.xl_guest_info) returns.
      - A guest that is on another host, or starts with it, is never started here, nor linked to start.
    type: dict
    default: {}
  unasked:
    description: Hosts that could not be asked. While there are any, no guest is started that does not run here already.
    type: list
    elements: str
    default: []
  cpuid:
    description:
      - What guests of types other than V(pv) see of the CPU that say nothing of it themselves (O(guests[].cpuid)), as
        P(xenfold.consolidation.pool_cpuid#filter) gives it. A guest that runs takes it up when it is started anew.
    type: list
    elements: str
    default: []
  visitors:
    description:
      - Limits of guests of other hosts, as P(xenfold.consolidation.limits_of#filter) gives them. A guest that moves here has them at once;
        without them, from the next run for this host on. Guests of O(guests) among them count as they stand in O(guests).
    type: dict
    default: {}
  detach:
    description:
      - Guests from which disks and networks may be taken while they run, and media out of their drives. A disk that the guest does not let
        go of stays and is pending; a network xl takes away after a while.
    type: list
    elements: str
    default: []
  reboot:
    description:
      - Guests that may be rebooted to take up what is pending for them. One that does not reboot in O(stop_seconds) is left running.
      - A driver domain that serves guests is neither rebooted nor started anew by O(recreate).
      - Does nothing for a guest without anything pending that a reboot brings about.
    type: list
    elements: str
    default: []
  recreate:
    description:
      - Guests that may be shut down and started anew to take up what is pending for them. One that does not shut down in
        O(stop_seconds) is left running. Does nothing for a guest without anything pending.
    type: list
    elements: str
    default: []
  stop_seconds:
    description: How long a guest may take to shut down, or to reboot.
    type: int
    default: 300
  wait_seconds:
    description: How long to wait for a started guest to run, and for guests to take up a new size.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Run the guests of this host
  xenfold.consolidation.xl_guest:
    guests:
      - name: web01
        vcpus: 2
        maxvcpus: 4
        memory_mib: 4096
        maxmem_mib: 8192
        disks:
          - {name: root, size_gib: 20, volume_group: vg_guests, limits: {read_mibps: 200, write_mibps: 100, write_iops: 2000}}
        networks:
          - {bridge: xenbr0, rate_mbps: 200, receive_mbps: 400, min_mbps: 50}
        autostart: 50
"""

RETURN = r"""
guests:
  description: The guests of the list as they are afterwards, each with its state - running, paused, shutdown, crashed, dying
    or absent.
  returned: always
  type: dict
  sample: {web01: {domid: 3, state: running, memory_mib: 4096, vcpus: 2}}
actions:
  description: What was or would be done, in order.
  returned: always
  type: list
  elements: dict
  sample: [{verb: start, target: guest web01, detail: ""}]
pending:
  description:
    - What is wanted of a running guest and not so - by the consent that would bring it about, the weakest that does (detach, reboot or
      recreate), or none where a person has to do something. What consents of this call bring about is not in it.
  returned: always
  type: list
  elements: dict
  sample: [{guest: web01, key: maxvcpus, running: 4, wanted: 8, needs: a stop and a new start of the guest, by: reboot}]
limits:
  description: The limits that hold, by guest, as the kernel and xenstore tell them; those of connected devices, with disks by their name
    in the guest and networks by their address.
  returned: always
  type: dict
  sample: {web01: {disks: {xvda: {write_mibps: 100}}, networks: {"00:16:3e:3b:46:9e": {rate_mbps: 200}}}}
unmanaged:
  description: Guests of the host that are not in the list.
  returned: always
  type: list
  elements: str
  sample: [old01]
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import file_diff
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.check import check_guests
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import normalise, with_cpuid
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.schema import GUEST_SPEC
from ansible_collections.xenfold.consolidation.plugins.module_utils.limits import service as limits
from ansible_collections.xenfold.consolidation.plugins.module_utils.limits.wanted import check_visitors
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.unlogged import UnloggedModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import apply, claims, cpuid, plan
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.changes import WAYS, Consents
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.commands import Xl


def guests_after(guests: Iterable[Mapping[str, Any]], domains: Any) -> dict[str, Any]:
    """State and size of each guest of the list."""
    found = {}
    for guest in guests:
        domain = domains.get(guest["name"])
        found[guest["name"]] = {
            "domid": domain.domid, "state": domain.state, "memory_mib": domain.memory_mib, "vcpus": domain.vcpus,
        } if domain else {"domid": None, "state": "absent", "memory_mib": None, "vcpus": None}
    return found


def diffs(steps: plan.Steps, texts: Any) -> list[dict[str, str]]:
    """Configurations before and after, and one line for everything else."""
    rest = "".join(f"{action.line()}\n" for action in steps.actions() if action.verb != "write")
    return [file_diff(file, texts) for file in steps.files] + ([{"prepared": rest}] if rest else [])


def refuse(module: UnloggedModule, result: Mapping[str, Any], obstacles: Sequence[str]) -> None:
    """End the module before anything is changed, when there are obstacles."""
    if obstacles:
        module.fail_json(msg="No guest was changed: " + "; ".join(obstacles), obstacles=list(obstacles), **{**result, "changed": False})


def main() -> None:
    # Definitions carry what a first boot is told, and kernel command lines.
    module = UnloggedModule(
        argument_spec={
            "guests": {"type": "list", "elements": "dict", "required": True, "options": GUEST_SPEC},
            "config_dir": {"type": "str", "default": "/etc/xen/guests"},
            "autostart_dir": {"type": "str", "default": "/etc/xen/auto"},
            "autostart": {"type": "bool", "default": True},
            "elsewhere": {"type": "dict", "default": {}},
            "unasked": {"type": "list", "elements": "str", "default": []},
            "cpuid": {"type": "list", "elements": "str", "default": []},
            "visitors": {"type": "dict", "default": {}},
            **{way: {"type": "list", "elements": "str", "default": []} for way in WAYS},
            "stop_seconds": {"type": "int", "default": 300},
            "wait_seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    options = module.params
    errors = check_guests(options["guests"], one_host=True) + cpuid.check("cpuid", options["cpuid"]) + check_visitors(options["visitors"])
    if errors:
        module.fail_json(msg="; ".join(errors), errors=errors)
    odd = [host for host, there in options["elsewhere"].items() if not isinstance(there, dict)]
    if odd:
        module.fail_json(msg=f"elsewhere: {odd[0]}: value {options['elsewhere'][odd[0]]!r}, allowed a mapping of guests to their states")
    consents = Consents({way: options[way] for way in WAYS})
    others = plan.Others.of(options["elsewhere"], options["unasked"])
    for key, least in (("stop_seconds", 1), ("wait_seconds", 0)):
        if options[key] < least:
            module.fail_json(msg=f"{key}: value {options[key]}, allowed {least} or more seconds")
    for line in consents.check({guest["name"] for guest in options["guests"]}, others.guests):
        module.warn(f"{line}; nothing is done by this consent")
    guests = plan.order([normalise(with_cpuid(guest, options["cpuid"])) for guest in options["guests"]])
    places = plan.Places(options["config_dir"], options["autostart_dir"], options["autostart"])
    runner = Runner(module)
    xl = Xl(runner)
    result: dict[str, Any] = {}
    try:
        host = apply.read(xl, guests, places)
        steps = plan.steps(guests, host, places, others, consents)
        if not host.xen_runs and not module.check_mode:
            steps.obstacles.append("Xen does not run on this host; the role dom0 sets it up, and it takes a reboot")
        bounds = limits.compare(runner, guests, options["visitors"], host.xen_runs)
        steps.obstacles += bounds.obstacles
        steps.not_yet += bounds.lacking
        if not module.check_mode:
            steps.obstacles += steps.not_yet
        elif host.xen_runs:
            for line in steps.not_yet:
                # A task with no_log hides what it returns, and not its warnings.
                shown = line.partition(": ")[0] + ": something is missing on the host" if module.no_log else line
                module.warn(f"{shown}; the run itself has to bring it")
        if steps.renew:
            steps.obstacles += plan.short_of_memory(steps, guests, host, xl.free_mib())
        if host.xen_runs and not steps.obstacles:
            steps.obstacles += apply.refused(xl, guests, steps, places)
        actions = bounds.actions() + steps.actions()
        result = outcome(actions) | {
            "guests": guests_after(guests, host.domains),
            "pending": [pending.data() for pending in steps.pending],
            "unmanaged": steps.unmanaged,
            "diff": bounds.diffs() + diffs(steps, host.texts),
            "limits": bounds.told(),
        }
        refuse(module, result, steps.obstacles)
        pending, failed = steps.pending, list[str]()
        if actions and not module.check_mode:
            # Those to be started anew run here until then, so nobody is asked about them.
            with claims.held({*steps.start, *(renewal.guest for renewal in steps.renew)}):
                refuse(module, result, claims.against(steps.start))
                # Before guests start, so that one with limits is never without.
                limits.apply(runner, bounds)
                left = apply.carry_out(xl, guests, steps, places, options["stop_seconds"], options["wait_seconds"])
            for line in left:
                module.warn(line)
            if steps.live or steps.renew:
                host = apply.read(xl, guests, places)
                pending, failed = plan.settle(steps, plan.steps(guests, host, places, others, consents.detaching()))
                result["pending"] = [entry.data() for entry in pending]
            result["guests"] = guests_after(guests, host.domains if steps.live or steps.renew else xl.domains())
            if bounds.actions():
                result["limits"] = limits.prove(runner, bounds, host.xen_runs).told()
        for line in [*bounds.notes, *(entry.line(hide=module.no_log) for entry in pending)]:
            module.warn(line)
        if failed:
            module.fail_json(msg="; ".join(failed), **result)
    except (ValueError, apply.GuestError, limits.LimitsError) as error:
        module.fail_json(msg=str(error), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()

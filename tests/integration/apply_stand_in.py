#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stands in for the modules that touch a host, on a world in a file: test_apply_playbook.py copies it under their names."""
from __future__ import annotations

import fcntl
import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import volumes

NAME, WORLD = "NAME", "WORLD"
EXTENT = 4 * 2**20
OPTIONS = ("run", "by", "since", "state", "break_run", "needs", "peers", "quiet_seconds", "host", "moves", "at_once", "wait_seconds",
           "steps", "forget", "guests", "autostart", "elsewhere", "unasked", "cpuid", "visitors", "volumes", "volume_peers", "looked",
           "consents", "guard", "guard_seconds", "guard_off", "ask")


def copy(name: str, domid: int, uuid: str, flags: str = "-b----", seconds: float = 3.0) -> dict[str, Any]:
    state = "paused" if flags[2] == "p" else "shutdown" if flags[3] == "s" else "running"
    return {"name": name, "domid": domid, "uuid": uuid, "state": state, "flags": flags, "seconds": seconds, "memory_mib": 128}


def migration_lock(world: dict[str, Any], host: dict[str, Any], params: dict[str, Any], check: bool) -> dict[str, Any]:
    if params["state"] == "absent":
        host["lock"] = None if host["lock"] == params["run"] else host["lock"]
    elif host["lock"] and params["break_run"] != host["lock"]:
        return {"failed": True, "msg": f"somebody holds the lock (run {host['lock']})"}
    elif not check:
        host["lock"] = params["run"]
    return {"changed": False}


def xl_move_info(world: dict[str, Any], host: dict[str, Any], params: dict[str, Any], check: bool) -> dict[str, Any]:
    names = [domain["name"] for domain in host["domains"]]
    size = {"type": "pvh", "memory_mib": 128, "maxmem_mib": 128, "maxvcpus": 1, "pci": [], "vnuma": False}
    return {
        "changed": False, "xen": True, "xen_version": "4.17.7", "free_mib": host["free_mib"], "virt_caps": ["hvm", "hap"],
        "domains": host["domains"], "sizes": dict.fromkeys(names, size),
        "guests": dict.fromkeys(host["keeps"], "autostart") | {name.partition("--")[0]: "running" for name in names},
        "keeps": host["keeps"], "moving": host["moving"], "receiving": [], "missing": [need for need in params["needs"] or [] if
                                                                                       need in world["missing"]], "deaf": {},
        "volumes": [{"volume_group": "vg0", **volume} for volume in host["volumes"]],
        "groups": {"vg0": {"free_bytes": host["free_bytes"], "extent_bytes": EXTENT}},
        "stored": host["keeps"], "journals": host["journals"], "deaf_volumes": {},
    }


def xl_move(world: dict[str, Any], host: dict[str, Any], params: dict[str, Any], check: bool) -> dict[str, Any]:
    told = []
    if world["during_moves"] and not check:
        # Another host looks for this file.
        open(world["during_moves"], "w", encoding="utf-8").close()
    looks = {} if check or not world["looks"] else world["looks"].pop(0)
    for move in params["moves"] or []:
        fate = world["fates"].get(move["guest"], "arrives")
        if not check and move.get("volumes"):
            if not looks:
                told.append(with_disks(world, host, move, fate))
        elif not check:
            own = next(domain for domain in host["domains"] if domain["name"] == move["guest"])
            target = world["hosts"][move["to"]]
            if fate in ("arrives", "arrives and its report is lost"):
                target["domains"].append(copy(move["guest"], 20 + len(target["domains"]), move["uuid"]))
                host["domains"].remove(own)
            if fate == "arrives":
                host["keeps"].remove(move["guest"])
            if fate in ("arrives and its report is lost", "the way breaks before GO"):
                away = copy(own["name"] + "--migratedaway", own["domid"], own["uuid"], "---ss-")
                host["domains"] = [domain for domain in host["domains"] if domain is not own] + [away]
            if fate == "the way breaks before GO":
                target["domains"].append(copy(own["name"] + "--incoming", 30, own["uuid"], "--p---", 0.0))
            told.append({"guest": move["guest"], "step": move["step"], "to": move["to"], "code": int(fate != "arrives"), "seconds": 64.2,
                         "lines": [fate]})
    host["moving"] = host["moving"] if check else []
    # A call that comes too early is one more.
    early = [] if check or not world["early"] else [world["early"].pop()]
    early += sorted(looks)
    progress = {guest: {"pass": look.split()[0], "done_bytes": 10, "total_bytes": 100, "sent_bytes": 4} for guest, look in looks.items()}
    return {"changed": bool(params["moves"]), "moves": told, "under_way": early, "looks": looks, "progress": progress,
            "diff": {"before": "", "after": "".join(f"move guest {move['guest']} to {move['to']}\n" for move in params["moves"] or [])}}


def with_disks(world: dict[str, Any], host: dict[str, Any], move: dict[str, Any], fate: str) -> dict[str, Any]:
    """What the program on the source does with the volumes of both hosts, to the point that `fate` names."""
    own = next(domain for domain in host["domains"] if domain["name"] == move["guest"])
    target = world["hosts"][move["to"]]
    coming = [volume for volume in target["volumes"] if volume["name"].startswith(f"{move['guest']}-")]
    assert coming
    assert all(volume["name"].endswith(".coming") and volume["tags"][0].startswith("xenfold.coming=") for volume in coming)
    code = {"arrives": 0, "arrives and does not start": 0, "it does not shut down": 1}.get(fate)
    if fate != "it does not shut down":
        host["domains"].remove(own)
        host["journals"][move["guest"]] = {"stage": "down", "to": move["to"]}
    if fate.startswith(("arrives", "the host dies after")):
        for volume in coming:
            volume["tags"] = [tag.replace("coming", "complete") for tag in volume["tags"]]
        left = [volume for volume in host["volumes"] if volume["name"].startswith(f"{move['guest']}-")]
        for volume in left[:1] if fate == "the host dies after the first rename" else left:
            volume["name"] += ".moved"
            volume["tags"].append(f"xenfold.moved={move['guest']}:{move['to']}:20261129T164305Z")
        if fate.startswith("arrives"):
            host["keeps"].remove(move["guest"])
            host["journals"][move["guest"]]["stage"] = "given"
    return {"guest": move["guest"], "step": move["step"], "to": move["to"], "code": code, "seconds": 64.2, "lines": [fate],
            "stage": "given", "down_seconds": 12.5, "total_bytes": 2 * EXTENT, "sent_bytes": EXTENT}


def volume_settle(world: dict[str, Any], host: dict[str, Any], params: dict[str, Any], check: bool) -> dict[str, Any]:
    """The real plan, on volumes in the world."""
    planned = volumes.plan(params["steps"], [{"volume_group": "vg0", **volume} for volume in host["volumes"]])
    for _action, commands in [] if check else planned:
        for verb, *words in commands:
            by_name = {f"vg0/{volume['name']}": volume for volume in host["volumes"]}
            if verb == "lvcreate":
                host["volumes"].append({"name": words[words.index("-n") + 1], "tags": [words[words.index("--addtag") + 1]],
                                        "size_bytes": int(words[words.index("-L") + 1][:-1])})
            elif verb == "lvrename":
                assert f"vg0/{words[2]}" not in by_name
                by_name[f"vg0/{words[1]}"]["name"] = words[2]
            elif verb == "lvremove":
                host["volumes"].remove(by_name[words[-1]])
            else:
                tags = by_name[words[-1]]["tags"]
                for option, tag in zip(words[:-1:2], words[1:-1:2], strict=True):
                    (tags.append if option == "--addtag" else tags.remove)(tag)
    return outcome([action for action, _commands in planned])


def xl_move_settle(world: dict[str, Any], host: dict[str, Any], params: dict[str, Any], check: bool) -> dict[str, Any]:
    for step in params["steps"] or []:
        own = next(domain for domain in host["domains"] if domain["domid"] == step["domid"])
        if step["verb"] == "destroy":
            host["domains"].remove(own)
        elif step["verb"] == "rename":
            own["name"] = step["new_name"]
        else:
            own.update(copy(own["name"], own["domid"], own["uuid"]))
    host["keeps"] = [guest for guest in host["keeps"] if guest not in (params["forget"] or [])]
    return {"changed": True}


def xl_guest(world: dict[str, Any], host: dict[str, Any], params: dict[str, Any], check: bool) -> dict[str, Any]:
    names = [guest["name"] for guest in params["guests"]]
    new = sorted(set(names) - {domain["name"] for domain in host["domains"]})
    for name in new:
        there = [other for other, guests in (params["elsewhere"] or {}).items() if name in guests]
        if there:
            return {"failed": True, "msg": f"guest '{name}': it starts with the host {there[0]}; it is never started a second time"}
    for name in set(new) & {guest for guest, fate in world["fates"].items() if fate == "arrives and does not start"}:
        if host is world["hosts"]["xen02"]:
            # Configuration and link come before the start.
            host["keeps"] = sorted({*host["keeps"], name})
            return {"failed": True, "msg": f"guest '{name}': xl create failed"}
    own = {volume["name"] for volume in host["volumes"]}
    for guest in params["guests"]:
        for disk in guest["disks"]:
            # It starts from disks under their own names alone.
            assert not disk.get("volume_group") or guest["name"] not in new or f"{guest['name']}-{disk['name']}" in own, guest["name"]
    changed = not set(names) <= set(host["keeps"]) or bool(new)
    if not check:
        host["keeps"] = sorted({*host["keeps"], *names})
        host["domains"] += [copy(guest["name"], 40, guest["uuid"]) for guest in params["guests"] if guest["name"] in new]
    return {"changed": changed}


def migration(world: dict[str, Any], host: dict[str, Any], params: dict[str, Any], check: bool) -> dict[str, Any]:
    return {"changed": False, "public_key": "ssh-ed25519 AAAA", "volume_key": "ssh-ed25519 CCCC",
            "guard_key": "ssh-ed25519 DDDD", "host_keys": ["ssh-rsa BBBB"]}


def main() -> None:
    module = AnsibleModule({name: {"type": "raw"} for name in OPTIONS}, supports_check_mode=True)
    # Each host has its name there.
    name = os.path.basename(module._remote_tmp)
    with open(WORLD, "r+", encoding="utf-8") as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX)
        world = json.load(stream)
        given = {key: value for key, value in module.params.items() if value is not None}
        world["calls"].append({"module": NAME, "host": name, "check": module.check_mode, **given})
        result = globals()[NAME](world, world["hosts"][name], module.params, module.check_mode)
        stream.seek(0)
        stream.truncate()
        json.dump(world, stream)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()

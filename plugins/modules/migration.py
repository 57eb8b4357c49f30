#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: migration
short_description: Let the hosts of a pool send guests to each other
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Makes the keys with which this host sends guests, which never leave it, and returns their public parts with the host's own SSH keys.
  - With O(peers), writes them into a file of known hosts of its own, lets each of them run C(xl migrate-receive) here and nothing else, and
    brings the program that carries out a move.
  - With O(volumes), all of it once more with a key of its own, for guests that move with their disks - each peer may fill volumes here that
    are tagged as being filled by it, and nothing else.
  - With O(guard), once more with a third key - each peer may ask which guests run here and which start with this host, and nothing else.
    Before this host starts its guests it asks its peers, and starts none of O(guard) that a peer has, or that a silent peer may have.
  - A peer that is not in O(peers) any more loses its line. Lines of C(authorized_keys) without the comment C(xenfold-migration:HOST),
    C(xenfold-volumes:HOST) or C(xenfold-guard:HOST) are never touched.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  peers:
    description: The other hosts of the pool, all of them. Without it, only the key is made.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the host.
        type: str
        required: true
      address:
        description: Where it is asked for O(guard).
        type: str
      addresses:
        description: Addresses from which it may call.
        type: list
        elements: str
        default: []
      port:
        description: Port of its SSH server.
        type: int
        default: 22
      public_key:
        description: The key with which it sends, as RV(public_key). Empty, in check mode alone, for one that is yet to be made.
        type: str
      volume_key:
        description: The key with which it fills volumes, as RV(volume_key).
        type: str
      guard_key:
        description: The key with which it asks, as RV(guard_key).
        type: str
      host_keys:
        description: Keys of its SSH server, as RV(host_keys).
        type: list
        elements: str
        default: []
      sends:
        description: Whether it may send guests. One of another pool asks only, for O(guard).
        type: bool
        default: true
      asked:
        description: Whether it has told its keys. What a host that has not may do already stays.
        type: bool
        default: true
  volumes:
    description: Whether guests with disks of the host itself are to move, too. Without it, what a peer may do with volumes stays.
    type: bool
    default: false
  guard:
    description: Guests that a peer could start as well. Without any, a guard that is there asks for none, and what peers may ask stays.
    type: list
    elements: str
    default: []
  guard_off:
    description: Peers that have no power, which the guard does not ask.
    type: list
    elements: str
    default: []
  ask:
    description: Those of O(peers) that are asked now, as the guard will, once all of them are set up. The module fails when one does not
      answer within half a minute. Not in check mode, and not those that are not O(peers[].asked).
    type: list
    elements: str
    default: []
  guard_seconds:
    description: How long the guard waits for a peer that does not answer, 0 to 3600.
    type: int
    default: 300
  key_dir:
    description: Directory of key and known hosts.
    type: str
    default: /etc/xenfold/migration
  authorized_keys:
    description: The file of the keys that root takes.
    type: str
    default: /root/.ssh/authorized_keys
  ssh_dir:
    description: Directory of the host's own SSH keys.
    type: str
    default: /etc/ssh
  program:
    description: Where the program goes. Those that move disks, and the guard, lie beside it.
    type: str
    default: /usr/local/lib/xenfold/move.py
  guard_config:
    description: Where the guard finds whom to ask.
    type: str
    default: /etc/xenfold/migration/guard.json
  guard_unit:
    description: Where systemd is told to run the guard before C(xendomains).
    type: str
    default: /etc/systemd/system/xendomains.service.d/xenfold-guard.conf
"""

EXAMPLES = r"""
- name: Make the key
  xenfold.consolidation.migration:
  register: own

- name: Let xen02 send guests to this host, and this host to xen02
  xenfold.consolidation.migration:
    peers:
      - name: xen02
        addresses: [10.9.0.2]
        public_key: "{{ hostvars['xen02'].own.public_key }}"
        host_keys: "{{ hostvars['xen02'].own.host_keys }}"
"""

RETURN = r"""
public_key:
  description: Public part of this host's key, without comment; empty in check mode while it is to be made.
  returned: success
  type: str
volume_key:
  description: The same of its key for volumes; empty without O(volumes).
  returned: success
  type: str
guard_key:
  description: The same of its key for questions; empty without O(guard).
  returned: success
  type: str
host_keys:
  description: Public keys of this host's SSH server, without comments.
  returned: success
  type: list
  elements: str
actions:
  description: What was or would be done, in order.
  returned: success
  type: list
  elements: dict
"""

import inspect
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import (
    WantedFile,
    differing,
    file_diff,
    lost,
    read_texts,
    write_atomically,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import guard, names, program, trust, volume_receive, volume_send
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

MOST_GUARD_SECONDS = 3600
ASK_SECONDS = 30.0
PEER_SPEC = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str"},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "port": {"type": "int", "default": 22},
    "public_key": {"type": "str", "no_log": False},
    "volume_key": {"type": "str", "no_log": False},
    "guard_key": {"type": "str", "no_log": False},
    "host_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "asked": {"type": "bool", "default": True},
    "sends": {"type": "bool", "default": True},
}


def host_keys(directory: str) -> list[str]:
    """The public keys of the SSH server, sorted."""
    texts = [path.read_text(encoding="utf-8") for path in Path(directory).glob("ssh_host_*_key.pub")]
    return sorted(key for text in texts if (key := trust.public_key(text)))


def _silent(peers: list[dict[str, Any]], names_asked: list[str], key_dir: str) -> list[str]:
    """The peers that do not answer the guard's question."""
    asked = trust.guard_peers([peer for peer in peers if peer["name"] in names_asked and peer["asked"]], key_dir)
    return [host for host, answer in guard.ask_patiently(asked, ASK_SECONDS).items() if answer is None]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "peers": {"type": "list", "elements": "dict", "options": PEER_SPEC},
            "volumes": {"type": "bool", "default": False},
            "guard": {"type": "list", "elements": "str", "default": []},
            "guard_off": {"type": "list", "elements": "str", "default": []},
            "ask": {"type": "list", "elements": "str", "default": []},
            "guard_seconds": {"type": "int", "default": 300},
            "key_dir": {"type": "str", "default": trust.KEY_DIR, "no_log": False},
            "authorized_keys": {"type": "str", "default": "/root/.ssh/authorized_keys", "no_log": False},
            "ssh_dir": {"type": "str", "default": "/etc/ssh"},
            "program": {"type": "str", "default": trust.PROGRAM},
            "guard_config": {"type": "str", "default": trust.GUARD_CONFIG},
            "guard_unit": {"type": "str", "default": trust.GUARD_UNIT},
        },
        supports_check_mode=True,
    )
    options, peers = module.params, module.params["peers"]
    volumes, guarded = options["volumes"], options["guard"]
    errors = trust.check_peers(peers or [], module.check_mode, volumes, bool(guarded))
    errors += [f"guard: {line}" for name in guarded for line in names.check("guest", name)]
    if not 0 <= options["guard_seconds"] <= MOST_GUARD_SECONDS:
        errors.append(f"guard_seconds: value {options['guard_seconds']}, allowed 0 to {MOST_GUARD_SECONDS}")
    if errors:
        module.fail_json(msg="; ".join(errors), errors=errors)
    key_names = [trust.KEY, *([trust.VOLUME_KEY] if volumes else []), *([trust.GUARD_KEY] if guarded else [])]
    keys = [Path(options["key_dir"], name) for name in key_names]
    known, authorized = f"{options['key_dir']}/{trust.KNOWN_HOSTS}", options["authorized_keys"]
    programs, directory = {options["program"]: program}, os.path.dirname(options["program"])
    if volumes:
        programs |= {f"{directory}/volume_send.py": volume_send, f"{directory}/volume_receive.py": volume_receive}
    if guarded:
        programs |= {f"{directory}/{os.path.basename(trust.GUARD)}": guard}
    units = [options["guard_config"], options["guard_unit"]]
    texts = read_texts([*(f"{key}.pub" for key in keys), known, authorized, *programs, *units])
    absent = [key for key in keys
              if not key.exists() or lost(key.read_text(errors="replace")) or not trust.public_key(texts[f"{key}.pub"] or "")]
    actions = [Action("make", f"key {key}") for key in absent]
    wanted = []
    if peers is not None:
        wanted = [
            WantedFile(known, trust.known_hosts(texts[known] or "", peers), 0o644),
            # A file that is there keeps its mode and owner.
            WantedFile(authorized, trust.authorized_keys(texts[authorized] or "", peers, volumes, bool(guarded)),
                       0o600 if texts[authorized] is None else None),
            *(WantedFile(path, inspect.getsource(source), 0o755) for path, source in programs.items()),
        ]
        if guarded:
            # What starts it last, so that a run that was cut off leaves no guard without its program.
            asked = [peer for peer in peers if peer["name"] not in options["guard_off"]]
            config = trust.guard_config(guarded, asked, options["guard_seconds"], options["key_dir"])
            unit = trust.guard_unit(options["guard_seconds"], len(asked))
            wanted += [WantedFile(options["guard_config"], config), WantedFile(options["guard_unit"], unit)]
        elif texts[options["guard_config"]] is not None:
            # No guest is left that another host could have.
            wanted += [WantedFile(options["guard_config"], trust.guard_config([], [], options["guard_seconds"], options["key_dir"]))]
        # One without any line of ours is not made.
        wanted = [file for file in differing(wanted, texts) if file.content or texts[file.path] is not None]
    made = "".join(f"{action.line()}\n" for action in actions)
    actions += [Action("write", f"file {file.path}") for file in wanted]
    result = outcome(actions) | {"diff": [*([{"prepared": made}] if made else []), *(file_diff(file, texts) for file in wanted)]}
    if not module.check_mode:
        runner = Runner(module)
        for key in absent:
            os.makedirs(options["key_dir"], mode=0o700, exist_ok=True)
            # One half of a pair is what a run that was cut off has left.
            for path in (key, Path(f"{key}.pub")):
                path.unlink(missing_ok=True)
            runner.change(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "xenfold-migration", "-f", str(key)])
        if any(file.path == authorized for file in wanted):
            os.makedirs(os.path.dirname(authorized), mode=0o700, exist_ok=True)
        for file in wanted:
            write_atomically(file)
        if any(file.path == options["guard_unit"] for file in wanted):
            runner.change(["systemctl", "daemon-reload"])
        if guarded and peers is not None:
            # Who is to start what was held back is known again.
            Path(guard.CLAIMS).unlink(missing_ok=True)
        silent = _silent(peers or [], options["ask"], options["key_dir"])
        if silent:
            module.fail_json(silent=silent, msg=(
                f"{', '.join(silent)}: no answer to what the guard asks before guests start with this host; see whether packet filter"
                " (dom0_firewall.migration_from), sshd and migration_address there let this host in; hosts that never can go out of"
                " migration_hosts"))
    texts = read_texts(f"{key}.pub" for key in keys)
    public = {name: trust.public_key(texts[f"{key}.pub"] or "") for name, key in zip(key_names, keys, strict=True)}
    module.exit_json(**result, public_key=public[trust.KEY], volume_key=public.get(trust.VOLUME_KEY, ""),
                     guard_key=public.get(trust.GUARD_KEY, ""), host_keys=host_keys(options["ssh_dir"]))


if __name__ == "__main__":
    main()

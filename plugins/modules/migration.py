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
  - A peer that is not in O(peers) any more loses its line. Lines of C(authorized_keys) without the comment C(xenfold-migration:HOST)
    or C(xenfold-volumes:HOST) are never touched.
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
      host_keys:
        description: Keys of its SSH server, as RV(host_keys).
        type: list
        elements: str
        default: []
      asked:
        description: Whether it has told its keys. What a host that has not may do already stays.
        type: bool
        default: true
  volumes:
    description: Whether guests with disks of the host itself are to move, too. Without it, what a peer may do with volumes stays.
    type: bool
    default: false
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
    description: Where the program goes. Those that move disks lie beside it.
    type: str
    default: /usr/local/lib/xenfold/move.py
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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import (
    WantedFile,
    differing,
    file_diff,
    read_texts,
    write_atomically,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import program, trust, volume_receive, volume_send
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

PEER_SPEC = {
    "name": {"type": "str", "required": True},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "port": {"type": "int", "default": 22},
    "public_key": {"type": "str", "no_log": False},
    "volume_key": {"type": "str", "no_log": False},
    "host_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "asked": {"type": "bool", "default": True},
}


def host_keys(directory: str) -> list[str]:
    """The public keys of the SSH server, sorted."""
    texts = [path.read_text(encoding="utf-8") for path in Path(directory).glob("ssh_host_*_key.pub")]
    return sorted(key for text in texts if (key := trust.public_key(text)))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "peers": {"type": "list", "elements": "dict", "options": PEER_SPEC},
            "volumes": {"type": "bool", "default": False},
            "key_dir": {"type": "str", "default": trust.KEY_DIR, "no_log": False},
            "authorized_keys": {"type": "str", "default": "/root/.ssh/authorized_keys", "no_log": False},
            "ssh_dir": {"type": "str", "default": "/etc/ssh"},
            "program": {"type": "str", "default": trust.PROGRAM},
        },
        supports_check_mode=True,
    )
    options, peers = module.params, module.params["peers"]
    errors = trust.check_peers(peers or [], module.check_mode, options["volumes"])
    if errors:
        module.fail_json(msg="; ".join(errors), errors=errors)
    keys = [Path(options["key_dir"], name) for name in (trust.KEY, *([trust.VOLUME_KEY] if options["volumes"] else []))]
    known, authorized = f"{options['key_dir']}/{trust.KNOWN_HOSTS}", options["authorized_keys"]
    programs = {options["program"]: program}
    if options["volumes"]:
        directory = os.path.dirname(options["program"])
        programs |= {f"{directory}/volume_send.py": volume_send, f"{directory}/volume_receive.py": volume_receive}
    texts = read_texts([*(f"{key}.pub" for key in keys), known, authorized, *programs])
    absent = [key for key in keys if not (key.exists() and trust.public_key(texts[f"{key}.pub"] or ""))]
    actions = [Action("make", f"key {key}") for key in absent]
    wanted = []
    if peers is not None:
        wanted = [
            WantedFile(known, trust.known_hosts(texts[known] or "", peers), 0o644),
            # A file that is there keeps its mode and owner.
            WantedFile(authorized, trust.authorized_keys(texts[authorized] or "", peers, options["volumes"]),
                       0o600 if texts[authorized] is None else None),
            *(WantedFile(path, inspect.getsource(source), 0o755) for path, source in programs.items()),
        ]
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
    public = [trust.public_key(text or "") for text in read_texts(f"{key}.pub" for key in keys).values()]
    module.exit_json(**result, public_key=public[0], volume_key=public[1] if options["volumes"] else "",
                     host_keys=host_keys(options["ssh_dir"]))


if __name__ == "__main__":
    main()

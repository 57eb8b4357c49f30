#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: guest_image
short_description: Make the volumes of guests, and fill new ones with a disk image or with what a first boot is told
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Creates and grows the volumes of a host in one call, as M(xenfold.consolidation.lvm_volumes) does, and fills those of O(fill) that are
    new. A volume that is there is never written.
  - A volume is filled under the name C(NAME.filling) and with the tag C(xenfold.filling), and gets its own name when all of its content is
    on the disk. No guest can start from it before. What a run that was cut off has left is filled from the beginning by the next.
  - Everything that is wrong is told before anything is made - an image that is not there, is not the one whose SHA-256 is given, is larger
    than the volume, or takes its content from other files.
  - Images lie under C(/var/lib/xenfold/images/NAME/disk). One with a URL is fetched when a volume needs it and it is not there.
  - Installs what is needed to read an image, such as the package C(qemu-utils) for qcow2.
  - In check mode an image that is not there yet is not judged, since an earlier step of the run may bring it.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  volumes:
    description: The volumes. Those of the host that are not listed are left alone.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      volume_group:
        description: The volume group.
        type: str
        required: true
      size_gib:
        description: Size in GiB, rounded up to whole extents.
        type: float
        required: true
  fill:
    description: Those of O(volumes) that begin with a content, as P(xenfold.consolidation.fillings_of#filter) gives them.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the volume.
        type: str
        required: true
      volume_group:
        description: The volume group.
        type: str
        required: true
      image:
        description: Name of an image of O(images). Either this or O(fill[].files).
        type: str
      files:
        description: Files of a seed for cloud-init by name. They may hold passwords and are never shown.
        type: dict
  images:
    description: The images that O(fill) names.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      path:
        description: Path on the control node, from where the role C(guests) brings it. Either this or O(images[].url).
        type: str
      url:
        description: Address from where the host fetches it itself.
        type: str
      sha256:
        description: SHA-256 of the file.
        type: str
        required: true
      format:
        description:
          - V(raw) and V(qcow2) are images of a whole disk. V(tar) is the content of a file system, as it is or packed by gzip, bzip2 or xz,
            which is made on the volume as a whole.
        type: str
        required: true
        choices: [raw, qcow2, tar]
      filesystem:
        description: File system for the format V(tar); V(ext4) when not given.
        type: str
        choices: [ext4, xfs]
seealso:
  - module: xenfold.consolidation.lvm_volumes
"""

EXAMPLES = r"""
- name: Make a volume with a system on it
  xenfold.consolidation.guest_image:
    volumes:
      - {name: web01-root, volume_group: vg_guests, size_gib: 20}
    fill:
      - {name: web01-root, volume_group: vg_guests, image: debian-12}
    images:
      - name: debian-12
        url: https://cloud.debian.org/images/cloud/bookworm/20250101-1979/debian-12-genericcloud-amd64-20250101-1979.qcow2
        sha256: 5f2d1c4b8a7e90d3c6b5a4f3e2d1c0b9a8f7e6d5c4b3a2f1e0d9c8b7a6f5e4d3
        format: qcow2
"""

RETURN = r"""
actions:
  description: What was or would be done, in order.
  returned: always
  type: list
  elements: dict
  sample:
    - {verb: create, target: volume vg_guests/web01-root, detail: 20 GiB}
    - {verb: fill, target: volume vg_guests/web01-root, detail: with the image debian-12}
volumes:
  description: The volumes of the call, with their stable devices and the size that whole extents give.
  returned: success
  type: list
  elements: dict
  sample: [{name: web01-root, volume_group: vg_guests, device: /dev/vg_guests/web01-root, size_mib: 20480}]
"""

from typing import IO, Any

from ansible.module_utils import urls
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
from ansible_collections.xenfold.consolidation.plugins.module_utils import packages
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.images import fill, source
from ansible_collections.xenfold.consolidation.plugins.module_utils.images.plan import Steps, steps
from ansible_collections.xenfold.consolidation.plugins.module_utils.images.spec import (
    FILL_SPEC,
    IMAGE_SPEC,
    check_fill,
    check_images,
    image_path,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import host as lvm_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import tags
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import VOLUME_SPEC, check_volumes
from ansible_collections.xenfold.consolidation.plugins.module_utils.unlogged import UnloggedModule

_SECONDS_OF_SILENCE = 60


def fetch(url: str) -> IO[bytes]:
    try:
        answer: IO[bytes] = open_url(url, timeout=_SECONDS_OF_SILENCE, follow_redirects="safe")
    except urls.ConnectionError as error:
        raise OSError(str(error)) from error
    return answer


def refuse(module: AnsibleModule, errors: list[str]) -> None:
    if errors:
        module.fail_json(msg="No volume was changed. " + ". ".join(errors), errors=errors)


def carry_out(runner: Runner, plan: Steps, images: dict[str, Any]) -> None:
    """Make the volumes and fill them."""
    for volume in plan.whole:
        fill.finish(runner, volume)
    for command in plan.commands:
        runner.change(command)
    for filling in plan.fill:
        image = images[filling.image] if filling.image else None
        fill.fill(runner, filling, image, image_path(filling.image or ""))


def main() -> None:
    module = UnloggedModule(
        argument_spec={
            "volumes": {"type": "list", "elements": "dict", "required": True, "options": VOLUME_SPEC},
            "fill": {"type": "list", "elements": "dict", "default": [], "options": FILL_SPEC},
            "images": {"type": "list", "elements": "dict", "default": [], "options": IMAGE_SPEC},
        },
        supports_check_mode=True,
    )
    volumes, images = module.params["volumes"], {image["name"]: image for image in module.params["images"]}
    errors = check_volumes(volumes) + check_images(module.params["images"]) + check_fill(module.params["fill"], images)
    if errors:
        module.fail_json(msg="; ".join(errors), errors=errors)
    runner = Runner(module)
    plan = steps(volumes, module.params["fill"], lvm_host.read(runner), tags.read(runner))
    if module.check_mode:
        for line in plan.not_yet:
            module.warn(f"{line}; the run itself has to bring it")
    else:
        plan.errors += plan.not_yet
    refuse(module, plan.errors)
    needed = {filling.image: images[filling.image] for filling in plan.fill if filling.image}
    rooms = {name: {filling.volume: filling.size_bytes for filling in plan.fill if filling.image == name} for name in needed}
    paths = {name: image_path(name) for name in needed}
    wrong, absent = source.judge(needed, rooms, paths, may_come=module.check_mode)
    refuse(module, wrong)
    lacking = packages.missing(runner, fill.packages_for(needed)) if needed else []
    actions = [*(Action("install", f"package {name}") for name in lacking),
               *(Action("fetch", f"disk image {name}", f"from {needed[name]['url']}") for name in absent), *plan.actions()]
    result = outcome(actions)
    if not module.check_mode:
        try:
            if lacking:
                packages.install(runner, lacking)
            for name in absent:
                source.bring(needed[name], paths[name], fetch)
            refuse(module, [line for name in absent for line in source.too_large(needed[name], paths[name], rooms[name])])
            carry_out(runner, plan, images)
        except (source.ImageError, OSError) as error:
            module.fail_json(msg=str(error), **result)
    for note in plan.notes:
        module.warn(note)
    module.exit_json(**result, volumes=plan.volumes)


if __name__ == "__main__":
    main()

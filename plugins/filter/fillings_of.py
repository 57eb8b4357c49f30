# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: fillings_of
short_description: What new volumes of guests are filled with
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - The volumes of guests that begin as a disk image, or as the seed of a first boot, as the module M(xenfold.consolidation.guest_image)
    takes them, and the images that these need.
  - Checks guests and images first and fails with everything that is wrong with them.
options:
  _input:
    description: Guests as the module M(xenfold.consolidation.xl_guest) takes them.
    type: list
    elements: dict
    required: true
  images:
    description: Disk images by name, as the role C(guests) has them in C(guests_disk_images).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Make and fill the volumes of guests
  xenfold.consolidation.guest_image:
    volumes: "{{ guests_definitions | xenfold.consolidation.volumes_of }}"
    fill: "{{ (guests_definitions | xenfold.consolidation.fillings_of(guests_disk_images)).fill }}"
    images: "{{ (guests_definitions | xenfold.consolidation.fillings_of(guests_disk_images)).images }}"
"""

RETURN = r"""
_value:
  description: C(fill), the volumes, each with C(image) or C(files), and C(images), those that are named there.
  type: dict
  sample:
    fill: [{name: web01-root, volume_group: vg_guests, image: debian-12}]
    images: [{name: debian-12, path: /srv/debian-12.qcow2, format: qcow2, sha256: 9f2b...}]
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.check import refuse_bad_guests
from ansible_collections.xenfold.consolidation.plugins.module_utils.images.spec import fillings


def _fillings_of(guests: Any, images: Any) -> dict[str, list[dict[str, Any]]]:
    try:
        refuse_bad_guests(guests)
        return fillings(guests, images)
    except ValueError as error:
        raise AnsibleFilterError(f"fillings_of: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"fillings_of": _fillings_of}

# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one error of the lab."""

from __future__ import annotations


class LabError(Exception):
    """Something a person has to know: what is wrong, with which item, and what to do. Printed without a traceback."""

# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of every module that works on a compute host."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  uri:
    description:
      - URI of the host's libvirt, as the host itself reaches it.
    type: str
    default: qemu:///system
  state_dir:
    description:
      - Folder on the host where Flotilla keeps the host's marker and its locks.
      - It is made with mode C(0700) when something is first written to it.
    type: path
    default: /var/lib/flotilla
requirements:
  - libvirt's Python binding for the Python that Ansible uses on the host (Debian and Fedora package C(python3-libvirt))
"""

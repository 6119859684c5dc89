# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module that works on a compute host shares: its options, and its frame.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import BuildAbort, FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    DEFAULT_URI,
    LIBVIRT_IMPORT_ERROR,
    LIBVIRT_PACKAGE,
    Connection,
    opened,
)

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

DEFAULT_STATE_DIR = "/var/lib/flotilla"

Spec = dict[str, dict[str, t.Any]]


def hypervisor_argument_spec() -> Spec:
    """The options of the doc fragment ``_hypervisor``."""
    return {
        "uri": {"type": "str", "default": DEFAULT_URI},
        "state_dir": {"type": "path", "default": DEFAULT_STATE_DIR},
    }


def run_on_host(module: AnsibleModule, work: t.Callable[[AnsibleModule, Connection], dict[str, t.Any]]) -> None:
    """Do a module's work with libvirt open, and leave the module with its result or with one sentence."""
    if LIBVIRT_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib(LIBVIRT_PACKAGE), exception=LIBVIRT_IMPORT_ERROR)
    try:
        with opened(module.params["uri"]) as conn:
            result = work(module, conn)
    except BuildAbort as exc:
        module.fail_json(msg=str(exc), abort=True)
    except FlotillaError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


__all__ = ["DEFAULT_STATE_DIR", "hypervisor_argument_spec", "run_on_host"]

# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs inside a lab host: the module image with the arguments of argv[1] (JSON). Prints its pid, then its result."""

from __future__ import annotations

import json
import os
import sys
import types
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import images
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import opened
from ansible_collections.flotilla.compute.plugins.modules import image

arguments = json.loads(sys.argv[1])
images.LEASE = arguments.pop("lease", images.LEASE)
print(os.getpid(), flush=True)
defaults = {name: option.get("default") for name, option in image.argument_spec().items()}
check_mode = arguments.pop("check_mode", False)
module: t.Any = types.SimpleNamespace(params={**defaults, **arguments}, check_mode=check_mode)
try:
    with opened(module.params["uri"]) as conn:
        print(json.dumps(image.run(module, conn)))
except FlotillaError as exc:
    print(json.dumps({"failed": True, "msg": str(exc)}))

# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs inside a lab host: the module image with the arguments of argv[1] (JSON). Prints its pid, then its result."""

from __future__ import annotations

import json
import os
import sys

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import images
from ansible_collections.flotilla.compute.plugins.modules import image

arguments = json.loads(sys.argv[1])
images.LEASE = arguments.pop("lease", images.LEASE)
print(os.getpid(), flush=True)
defaults = {name: spec.get("default") for name, spec in image.ARGUMENTS.items()}
try:
    print(json.dumps(image.run({**defaults, **arguments}, check_mode=arguments.pop("check_mode", False))))
except FlotillaError as exc:
    print(json.dumps({"failed": True, "msg": str(exc)}))

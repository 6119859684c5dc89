# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""M(flotilla.compute.tls_certificate_info): the certificates in a folder of the controller."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, FleetAction, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._certificates import read


class ActionModule(FleetAction):
    argument_spec: t.ClassVar[dict[str, dict[str, t.Any]]] = {"name": {"type": "str"}, "folder": {"type": "path"}}

    def perform(self, args: Arguments) -> Result:
        folder = Path(args["folder"] or self.state_dir / f"{self.fleet_name}-pki")
        found = [each.to_json() for each in read(folder) if args["name"] in (None, each.name)]
        return {"changed": False, "tls_certificates": found}

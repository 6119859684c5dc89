# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""M(flotilla.compute.tls_certificate): certificates are made on the controller, where the authority's key is."""

from __future__ import annotations

import datetime as dt
import typing as t
from pathlib import Path

from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, FleetAction, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._certificates import Wanted, ensure


class ActionModule(FleetAction):
    argument_spec: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "name": {"type": "str", "required": True},
        "names": {"type": "list", "elements": "str", "default": []},
        "folder": {"type": "path"},
        "passphrase": {"type": "str", "no_log": True},
        "valid_days": {"type": "int", "default": 730},
        "renew_days": {"type": "int", "default": 60},
    }

    def perform(self, args: Arguments) -> Result:
        folder = Path(args["folder"] or self.state_dir / f"{self.fleet_name}-pki")
        wanted = Wanted(args["name"], tuple(args["names"]), args["valid_days"], args["renew_days"])
        now = dt.datetime.now(dt.timezone.utc)
        made, reason = ensure(folder, wanted, now=now, passphrase=args["passphrase"], check=self.check_mode)
        result: Result = {"changed": reason is not None, "tls_certificate": made.to_json() if made else None}
        if self.diff_mode:
            after = {"names": list(wanted.all_names), "reason": reason}
            result["diff"] = {"before": {}, "after": after if reason else {}}
        return result

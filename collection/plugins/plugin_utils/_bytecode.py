# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Python's own cache of compiled modules, for the collection's.

Ansible imports a collection by a loader that compiles every file anew in each run; for what a reconcile needs that
takes an eighth of a second, before anything begins. Found here, these modules are loaded as any others are: from
``__pycache__`` where that fits the source, written there where that is possible and allowed (PYTHONDONTWRITEBYTECODE,
PYTHONPYCACHEPREFIX).

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import typing as t
from collections.abc import Sequence

_PLUGINS = __name__.rpartition(".plugin_utils.")[0]
_OURS = tuple(f"{_PLUGINS}.{kind}." for kind in ("module_utils", "plugin_utils"))


class _Finder:
    """Finds modules and packages of the collection where Ansible has found their parent; of no other's."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, _target: t.Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not path or not name.startswith(_OURS):
            return None
        base = os.path.join(path[0], name.rpartition(".")[2])
        for file, folders in ((f"{base}.py", None), (os.path.join(base, "__init__.py"), [base])):
            if os.path.isfile(file):
                return importlib.util.spec_from_file_location(name, file, submodule_search_locations=folders)
        return None


def keep() -> None:
    """From here on the collection's modules are compiled once, and not once a run. Where Ansible's loader is not in
    use nothing is to be done: Python keeps them itself."""
    finders = [type(finder).__module__.partition(".")[0] for finder in sys.meta_path]
    if "ansible" in finders and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(finders.index("ansible"), _Finder())


__all__ = ["keep"]

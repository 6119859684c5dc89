# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Third-party packages of the controller, imported when they are needed and missed in one sentence.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

A plain import at module level would keep Ansible from loading (and from documenting) every plugin of the collection on
a controller that lacks the package. Users of a package import it for types under ``t.TYPE_CHECKING`` and get it here
where they use it::

    if t.TYPE_CHECKING:
        import sqlalchemy as sa

    def tables() -> sa.MetaData:
        sa = need("sqlalchemy")
"""

from __future__ import annotations

import importlib
import sys
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError

__all__ = ["need"]

# Package to import -> (its name for pip, what the controller needs it for).
_PACKAGES = {
    "alembic": ("alembic", "the ledger's schema"),
    "cryptography": ("cryptography", "keypairs, certificates and what the ledger keeps encrypted"),
    "jsonschema": ("jsonschema", "checking inventory variables"),
    "numpy": ("numpy", "the scheduler"),
    "ortools": ("ortools", "placing a batch of servers jointly"),
    "passlib": ("libpass", "hashing passwords"),
    "psycopg": ("psycopg[binary]", "a ledger on PostgreSQL"),
    "pycdlib": ("pycdlib", "config drives"),
    "sqlalchemy": ("SQLAlchemy", "the ledger"),
    "yaml": ("PyYAML", "user data"),
}


def need(module: str) -> t.Any:
    """Import *module*, a name such as ``sqlalchemy`` or ``cryptography.hazmat.primitives.serialization``."""
    there = sys.modules.get(module)
    if there is not None:  # what is asked for thousands of times is looked up, not imported
        return there
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        package = module.partition(".")[0]
        if exc.name is None or exc.name.partition(".")[0] != package:
            raise  # installed, but broken: the import error itself says how
        pip_name, purpose = _PACKAGES[package]
        raise FlotillaError(
            f"the controller needs the Python package {package!r} for {purpose}; "
            f"install it for Ansible's Python: {sys.executable} -m pip install '{pip_name}'"
        ) from exc

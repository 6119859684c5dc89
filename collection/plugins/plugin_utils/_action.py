# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the collection's action plugins share: checked arguments, fleet variables, the ledger, errors as sentences.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import abc
import contextlib
import os
import signal
import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    BuildAbort,
    FlotillaError,
    InvalidInput,
    NoValidHost,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils import _bytecode
from ansible_collections.flotilla.compute.plugins.plugin_utils._plain import plain

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger

__all__ = ["FleetAction", "failure"]

_bytecode.keep()  # of all that an action plugin imports after this module

Arguments = dict[str, t.Any]
Result = dict[str, t.Any]


class FleetAction(ActionBase):
    """An action plugin of the collection. A subclass names its arguments and says in ``perform`` what it does.

    ``argument_spec`` is written as a module's; ``constraints`` are the keywords of ``validate_argument_spec`` beside it
    (``required_if``, ``mutually_exclusive`` …). A FlotillaError in ``perform`` becomes the task's failure; anything
    else is a bug and shows as one.
    """

    argument_spec: t.ClassVar[dict[str, dict[str, t.Any]]] = {}
    constraints: t.ClassVar[dict[str, t.Any]] = {}
    _requires_connection = False
    _opened: Ledger | None = None

    @abc.abstractmethod
    def perform(self, args: Arguments) -> Result:
        """Do the task with *args*, which are checked and plain; give its result."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        result: Result = super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        try:
            result.update(self.perform(self._arguments()))
        except FlotillaError as exc:
            result.update(failure(exc))
        return result

    def _arguments(self) -> Arguments:
        _validation, args = self.validate_argument_spec(self.argument_spec, **self.constraints)
        checked: Arguments = plain(args)
        return checked

    @property
    def check_mode(self) -> bool:
        return bool(self._task.check_mode)

    @property
    def diff_mode(self) -> bool:
        return bool(self._task.diff)

    def variable(self, name: str, default: t.Any = None) -> t.Any:
        """A variable of the task's host, templated and plain; templating all of them would cost a run its speed."""
        value = plain(self._templar.template(self._task_vars[name])) if name in self._task_vars else None
        return default if value is None else value

    @property
    def fleet_name(self) -> str:
        return str(self.variable("fleet_name", "default"))

    @property
    def ledger_url(self) -> str:
        """fleet_ledger, else FLOTILLA_LEDGER, else the fleet's own SQLite file."""
        from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import default_url

        return str(self.variable("fleet_ledger") or default_url(self.fleet_name, self._state_folder))

    @property
    def state_dir(self) -> Path:
        """Where the controller keeps what is the fleet's and not the ledger's: the generated private keys."""
        from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import state_dir

        return Path(state_dir(self._state_folder))

    @property
    def _state_folder(self) -> str | None:
        """fleet_state_dir: not every action has had the inventory checked before it opens the ledger."""
        folder = self.variable("fleet_state_dir")
        if folder is not None and not isinstance(folder, str):
            raise InvalidInput(f"fleet_state_dir: found {folder!r}, allowed is an absolute path")
        return folder

    @contextlib.contextmanager
    def putting_together(self, modules: t.Sequence[str]) -> t.Iterator[None]:
        """Beside what is done meanwhile, have Ansible put these modules together with all that they import.

        It does so once a run, in the first worker that needs the module, behind a lock, and keeps it for the others:
        every host would wait for it. What goes wrong here goes wrong there again, and is said there.
        """
        beside = os.fork() if modules else None
        if beside == 0:
            self._put_together(modules)
        try:
            yield
        except BaseException:
            if beside:  # a run that ends now removes the folder that it writes into
                os.kill(beside, signal.SIGKILL)
                os.waitpid(beside, 0)
            raise

    def _put_together(self, modules: t.Sequence[str]) -> t.NoReturn:
        try:
            for module in modules:
                self._configure_module(f"flotilla.compute.{module}", {}, self._task_vars)
        finally:
            os._exit(0)  # it is a copy of a worker: its exit handlers are the worker's

    @t.overload
    def open_ledger(self, *, create: t.Literal[True]) -> Ledger: ...

    @t.overload
    def open_ledger(self, *, create: bool) -> Ledger | None: ...

    def open_ledger(self, *, create: bool) -> Ledger | None:
        """The ledger, opened once; None where there is none and it should not be made. Check mode never makes one."""
        from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger

        if create and self.check_mode:
            raise RuntimeError("a ledger is never made in check mode")
        if self._opened is None:
            self._opened = Ledger.open(self.ledger_url, create=create, readonly=self.check_mode)
        return self._opened


def failure(exc: FlotillaError) -> Result:
    """The result of a task that ended with *exc*."""
    result: Result = {"failed": True, "msg": str(exc)}
    if isinstance(exc, BuildAbort):
        result["abort"] = True
    if isinstance(exc, NoValidHost):
        result["reasons"] = exc.reasons
    return result

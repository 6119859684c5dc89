# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is made of libvirt's word on a guest that is on its way, as each release of it says it."""

from __future__ import annotations

import types
import typing as t

import libvirt
import pytest
from tests.libvirt.test_landing import error

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import SOURCE, End, Move, marked
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains, transit
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.transit import has_job, is_arriving


def paused(reason: int, answer: t.Any) -> t.Any:
    """A guest that stands still, and what libvirt answers to who asks for its job."""

    def told(*_flags: int) -> t.Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    state = [libvirt.VIR_DOMAIN_PAUSED, reason]
    return types.SimpleNamespace(state=lambda: state, jobStats=told, jobInfo=told)


@pytest.mark.parametrize(
    ("reason", "answer", "arrives"),
    [
        # The end that it goes to is not told of its own job, by one error or, in later releases, by another.
        (libvirt.VIR_DOMAIN_PAUSED_MIGRATION, error(libvirt.VIR_ERR_OPERATION_INVALID), True),
        (libvirt.VIR_DOMAIN_PAUSED_MIGRATION, error(libvirt.VIR_ERR_OPERATION_UNSUPPORTED), True),
        (libvirt.VIR_DOMAIN_PAUSED_STARTING_UP, error(libvirt.VIR_ERR_OPERATION_UNSUPPORTED), True),
        (libvirt.VIR_DOMAIN_PAUSED_USER, error(libvirt.VIR_ERR_OPERATION_UNSUPPORTED), False),
        (libvirt.VIR_DOMAIN_PAUSED_MIGRATION, error(libvirt.VIR_ERR_NO_SUPPORT), False),
        (libvirt.VIR_DOMAIN_PAUSED_MIGRATION, error(libvirt.VIR_ERR_NO_DOMAIN), False),
        (
            libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
            {"operation": libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT},
            False,
        ),
    ],
)
def test_a_guest_whose_memory_is_on_its_way_here(reason: int, answer: t.Any, arrives: bool) -> None:
    assert is_arriving(paused(reason, answer)) == arrives


def test_a_guest_that_comes_has_a_job() -> None:
    assert has_job(paused(libvirt.VIR_DOMAIN_PAUSED_MIGRATION, error(libvirt.VIR_ERR_OPERATION_UNSUPPORTED)))
    assert not has_job(paused(libvirt.VIR_DOMAIN_PAUSED_MIGRATION, error(libvirt.VIR_ERR_OPERATION_INVALID)))


@pytest.mark.parametrize(
    ("under_way", "post_copy", "says"),
    [
        (False, False, "Cannot 'abort live migration' instance {id}: no migration of it is running"),
        (
            True,
            True,
            "Migration m1 state of instance {id} is running (post-copy). "
            "Cannot abort live migration while the migration is in this state.",
        ),
    ],
)
def test_a_migration_that_can_not_be_aborted_is_refused_in_novas_words(
    run: t.Callable[..., list[dict[str, t.Any]]],
    conn: t.Any,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    under_way: bool,
    post_copy: bool,
    says: str,
) -> None:
    moving = marked(record, Move("m1", SOURCE, End("kvm2")))
    domains.write_record(conn.lookupByName("web1"), moving)
    # The driver migrates nothing.
    monkeypatch.setattr(transit, "has_job", lambda _domain: under_way)
    monkeypatch.setattr(transit, "is_post_copy", lambda _domain: post_copy)
    (result,) = run("abort_migration")
    assert (result["failed"], result["message"]) == (True, says.format(id=record.id))
    assert domains.record_of(conn.lookupByName("web1")) == moving

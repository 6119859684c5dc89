# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong in the lab, as sentences."""

from __future__ import annotations


class LabError(Exception):
    """A sentence for the user: what is wrong, where, and what to do. Exit code 1."""

    exit_code = 1


class NeedError(LabError):
    """The machine lacks something that the lab needs; nothing was changed. Exit code 2."""

    exit_code = 2

# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a guest is told about itself: the documents of a config drive, and the drive.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

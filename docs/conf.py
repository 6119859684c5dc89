# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation site, which tools/docs builds from this folder, collection/docs and the code."""

from __future__ import annotations

project = "Flotilla"
author = "Flotilla contributors"
copyright = "2026, Flotilla contributors"  # noqa: A001  # Sphinx's name for it
title = "Flotilla: Nova's compute operations for plain KVM hosts"
html_short_title = "Flotilla"

extensions = ["myst_parser", "sphinx_antsibull_ext"]
myst_heading_anchors = 3
html_theme = "alabaster"
html_show_sphinx = False
html_show_copyright = False
highlight_language = "yaml+jinja"
nitpicky = False

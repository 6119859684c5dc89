# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as one HTML page: no script, no font, no picture, nothing that is fetched.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

What the colours say stands in words too; every server is a link to its row of the table, so that all of it is reached
by keyboard; the choice of colours is a group of radio buttons that style sheets read. Every text that comes from
outside goes through escape().
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import html
import os
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.report import (
    RESOURCES,
    Block,
    Box,
    Loss,
    Report,
)

__all__ = ["page", "write"]

_STATES = {"ACTIVE": "active", "SHUTOFF": "off", "PAUSED": "paused", "SUSPENDED": "paused", "ERROR": "error"}

_STYLE = """
:root{color-scheme:light dark;--line:#8886;--free:#8882}
*{box-sizing:border-box}
body{font:1rem/1.4 system-ui,sans-serif;margin:0 auto;max-width:90rem;padding:1rem}
.hosts{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(min(22rem,100%),1fr))}
.host{border:1px solid var(--line);border-radius:.5rem;padding:.75rem}
.host h3{margin:0 0 .5rem}
.bar{background:var(--free);border:1px solid var(--line);display:flex;height:1.8rem;list-style:none;
margin:.1rem 0 .5rem;overflow:hidden;padding:0}
.bar li{flex:none;min-width:1px;overflow:hidden}
.bar a,.bar span{background:var(--state);border-right:1px solid #fff;color:#fff;display:block;
font-size:.8rem;height:100%;overflow:hidden;padding:.3rem .2rem;text-decoration:none;
text-overflow:ellipsis;white-space:nowrap}
.bar a:focus-visible{outline:3px solid #fff;outline-offset:-3px}
.bar span{background:repeating-linear-gradient(45deg,#555,#555 6px,#666 6px,#666 12px)}
.new a{box-shadow:inset 0 0 0 3px #fff8}
#by-group:checked~main .bar a{background:var(--group)}
#by-zone:checked~main .bar a{background:var(--zone)}
table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid var(--line);padding:.3rem .6rem;text-align:left;vertical-align:top}
.wide{overflow-x:auto}
:target{outline:3px solid #06c}
.bad{color:#c00;font-weight:bold}
@media (prefers-color-scheme:dark){.bad{color:#f77}}
.active{--state:#17683a}.off{--state:#565f68}.paused{--state:#855a00}.error{--state:#a8141c}.other{--state:#1f549e}
@media print{.bar a,.bar span{print-color-adjust:exact}}
"""


def page(report: Report, *, now: float) -> str:
    """The whole page; *now* in seconds since 1970."""
    moment = datetime.datetime.fromtimestamp(now, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    name = _text(report.fleet)
    servers = sum(len(box.before) for box in report.boxes) + len(report.nowhere)
    up = sum(box.state != "down" for box in report.boxes)
    head = f"{servers} servers, {up} of {len(report.boxes)} hosts up, as of {moment}"
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
            f"<title>Fleet {name}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n",
            f"<h1>Fleet {name}</h1>\n<p>{head}</p>\n",
            _choice(),
            "<main>\n",
            _hosts(report),
            _servers(report),
            _plan(report),
            _losses(report.losses),
            "</main>\n</body>\n</html>\n",
        ]
    )


def write(path: str, text: str) -> Path:
    """The file, whole or not at all, and where it is. FlotillaError where it can't be written."""
    target = Path(path).expanduser().absolute()
    try:
        handle, part = tempfile.mkstemp(dir=target.parent, prefix=".fleet-report-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(part, 0o644)
            os.replace(part, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
    except OSError as exc:
        raise FlotillaError(f"fleet_report: {target} can't be written: {exc.strerror}") from exc
    return target


def _choice() -> str:
    """Siblings of main, so that style sheets see which is chosen."""
    parts = ['<strong id="colours">Colours by</strong>\n']
    for key, label in (("state", "state"), ("group", "server group"), ("zone", "availability zone")):
        checked = " checked" if key == "state" else ""
        parts.append(f'<input type="radio" name="by" id="by-{key}" aria-describedby="colours"{checked}>')
        parts.append(f'<label for="by-{key}">{label}</label>\n')
    return "".join(parts)


def _hosts(report: Report) -> str:
    boxes = "".join(_box(box) for box in report.boxes)
    return f'<h2>Hosts</h2>\n<div class="hosts">\n{boxes}</div>\n'


def _box(box: Box) -> str:
    zone = f", zone {_text(box.zone)}" if box.zone else ""
    reason = f": {_text(box.reason)}" if box.reason else ""
    state = "bad" if box.state == "down" else "state"
    lines = [
        f'<section class="host" aria-label="host {_text(box.name)}">\n<h3>{_text(box.name)}</h3>\n',
        f'<p><span class="{state}">{_text(box.state)}</span>{zone}{reason}</p>\n',
    ]
    for key, unit in RESOURCES:
        lines.append(_resource(box, key, unit, box.before, "now"))
        if _sizes(box.before) != _sizes(box.after):
            lines.append(_resource(box, key, unit, box.after, "after the plan"))
    return "".join([*lines, "</section>\n"])


def _sizes(blocks: t.Iterable[Block]) -> dict[str, t.Mapping[str, int]]:
    return {block.name: block.amounts for block in blocks}


def _resource(box: Box, key: str, unit: str, blocks: t.Sequence[Block], when: str) -> str:
    """A bar to scale. What is promised beyond the capacity makes the scale longer, never the bar."""
    others, capacity = box.others[key], box.capacity[key]
    used = sum(block.amounts[key] for block in blocks) + others
    label = f"{unit} {when}: {used:g} of {capacity:g}"
    scale = max(capacity, used) or 1
    known = {block.name for block in box.before}
    items = []
    for block in blocks:
        new = ' class="new"' if block.name not in known else ""
        told = f"{block.name}, {block.status}, {block.amounts[key]} {unit}" + (", planned" if new else "")
        items.append(
            f'<li{new} style="width:{100 * block.amounts[key] / scale:.3f}%"><a class="{_state(block.status)}" '
            f'style="{_hues(block)}" href="#{_anchor(block.name)}" title="{_text(told)}" aria-label="{_text(told)}">'
            f"{_text(block.name)}</a></li>"
        )
    if others:
        told = f"others, {others:g} {unit}"
        items.append(f'<li style="width:{100 * others / scale:.3f}%"><span title="{told}">others</span></li>')
    full = ' class="bad"' if used > capacity else ""
    bars = "".join(items)
    return (
        f'<div{full}>{label}</div>\n<ul class="bar" role="list" aria-label="{_text(box.name)}, {label}">{bars}</ul>\n'
    )


def _servers(report: Report) -> str:
    rows = [(box.name, block) for box in report.boxes for block in box.before]
    known = {block.name for _host, block in rows}
    rows += [("", block) for block in report.nowhere]
    rows += [(box.name, block) for box in report.boxes for block in box.after if block.name not in known]
    seen: dict[str, str] = {}
    for host, block in sorted(rows, key=lambda row: (row[1].name, row[0])):
        cells = (
            *(block.name, block.status, host or "-", block.flavor, block.group or "-", block.zone or "-"),
            ", ".join(block.addresses) or "-",
        )
        # Of a second copy the row has no name of its own to jump to.
        anchor = "" if block.name in seen else f' id="{_anchor(block.name)}"'
        row = "".join(f"<td>{_text(cell)}</td>" for cell in cells[1:])
        seen[block.name] = (
            seen.get(block.name, "") + f'<tr{anchor}><th scope="row">{_text(block.name)}</th>{row}</tr>\n'
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in "Server Status Host Flavor Group Zone Addresses".split())
    body = "".join(seen.values())
    table = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"
    return f'<h2>Servers</h2>\n<div class="wide">{table}</div>\n'


def _plan(report: Report) -> str:
    if report.no_plan:
        return f'<h2>Plan</h2>\n<p class="bad">There is no plan: {_text(report.no_plan)}</p>\n'
    if not report.changes:
        return "<h2>Plan</h2>\n<p>Reconcile would change nothing: the fleet is as inventory declares it.</p>\n"
    items = "".join(f"<li>{_text(line)}</li>\n" for line in report.changes)
    return f"<h2>Plan</h2>\n<p>What reconcile would do:</p>\n<ul>\n{items}</ul>\n"


def _losses(losses: t.Sequence[Loss]) -> str:
    intro = (
        "<h2>If a host is lost</h2>\n<p>Each host alone is taken away, and its servers are placed on the others as the "
        "scheduler would place them now.</p>\n"
    )
    return intro + ("".join(map(_loss, losses)) or "<p>No host has servers.</p>\n")


def _loss(loss: Loss) -> str:
    total = len(loss.placed) + len(loss.refused)
    word = "all" if not loss.refused else f"{len(loss.placed)} of {total}"
    told = (
        f"{_text(loss.host)}: {word} of its {total} servers find a host"
        if not loss.refused
        else (f"{_text(loss.host)}: {word} servers find a host")
    )
    bad = ' class="bad"' if loss.refused else ""
    lost = " (from its image: no other host has its disk)"
    items = [
        f"<li>{_text(name)} to {_text(host)}{lost if name in loss.rebuilt else ''}</li>\n"
        for name, host in loss.placed.items()
    ]
    items += [f'<li class="bad">{_text(why)}</li>\n' for why in loss.refused.values()]
    shown = " open" if loss.refused else ""
    return f"<details{shown}><summary{bad}>{told}</summary>\n<ul>\n{''.join(items)}</ul>\n</details>\n"


def _state(status: str) -> str:
    return _STATES.get(status, "other")


def _hues(block: Block) -> str:
    return f"--group:{_hue(block.group)};--zone:{_hue(block.zone)}"


def _hue(name: str | None) -> str:
    """A colour of its own for each name, dark enough for white text."""
    if not name:
        return "#565f68"
    return f"hsl({int(hashlib.sha256(name.encode()).hexdigest()[:4], 16) % 360} 55% 28%)"


def _anchor(name: str) -> str:
    """An id that any name can have, and no two."""
    return "server-" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _text(value: str | None) -> str:
    return html.escape(str(value), quote=True).encode("utf-8", "replace").decode("utf-8")

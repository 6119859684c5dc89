# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report in a real browser: to scale, on a phone, by keyboard, as a screen reader is told, and with no network.

Pictures of it are left in .cache/artifacts.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from tests.support.browser import ENTER, SPACE, TAB, Browser, browser

from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.report import Block, Box, Loss, Report
from ansible_collections.flotilla.compute.plugins.plugin_utils._report import page

ARTIFACTS = Path(__file__).resolve().parents[2] / ".cache" / "artifacts"
PHONE, DESK = (390, 844), (1440, 900)
STATES = ("ACTIVE", "SHUTOFF", "PAUSED", "ERROR")


def _block(number: int) -> Block:
    size = 1 + number % 3
    amounts = {"vcpus": size, "memory": 1024 * size, "disk": 10 * size}
    zone = "ab"[number % 2]
    return Block(
        f"web{number}",
        STATES[number % 4],
        amounts,
        f"m1.{size}",
        f"group{number % 3}",
        zone,
        (f"lan=192.0.2.{number}",),
    )


def _box(number: int, before: tuple[Block, ...], after: tuple[Block, ...], state: str = "enabled") -> Box:
    capacity = {"vcpus": 32.0, "memory": 32768.0, "disk": 400.0}
    others = {"vcpus": 2.0, "memory": 2048.0, "disk": 5.0}
    reason = "no route to host" if state == "down" else ""
    return Box(f"kvm{number}", state, reason, "ab"[number % 2], capacity, others, before, after)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    blocks = [_block(number) for number in range(40)]
    parts = [tuple(blocks[first : first + 8]) for first in range(0, 40, 8)]
    boxes = [_box(number, part, part, "down" if number == 3 else "enabled") for number, part in enumerate(parts)]
    boxes[0] = _box(0, parts[0], (*parts[0][1:], _block(99)))
    losses = (
        Loss("kvm0", {"web0": "kvm1"}, {"web1": "web1: No valid host was found: kvm1: needs 8 GiB"}, ("web0",)),
        Loss("kvm1", {"web8": "kvm2"}, {}),
    )
    file = tmp_path_factory.mktemp("report") / "fleet.html"
    file.write_text(page(Report("office", tuple(boxes), (), ("web99: + create on kvm0",), losses), now=0.0))
    return file


@pytest.fixture(scope="module")
def window() -> t.Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.mark.soak
@pytest.mark.parametrize(("name", "size"), [("desk", DESK), ("phone", PHONE)], ids=["desk", "phone"])
def test_it_fits_the_screen_and_its_bars_are_to_scale(
    window: Browser, report: Path, name: str, size: tuple[int, int]
) -> None:
    window.open(report, width=size[0], height=size[1])
    assert window.run("return [innerWidth, innerHeight]") == list(size)
    window.picture(ARTIFACTS / f"report-{name}.png")
    assert window.complaints() == []
    assert window.run("return document.documentElement.scrollWidth") <= size[0], "the page is wider than the screen"
    widths = window.run(
        "const bar = document.querySelectorAll('.host')[1].querySelector('.bar');"
        "return [...bar.children].map(item => item.getBoundingClientRect().width / bar.clientWidth)"
    )
    expected = [(1 + number % 3) / 32 for number in range(8, 16)] + [2 / 32]
    assert widths == pytest.approx(expected, abs=0.006)


@pytest.mark.soak
def test_colours_follow_the_choice_by_keyboard(window: Browser, report: Path) -> None:
    window.open(report, width=DESK[0], height=DESK[1])
    colours = "return [...document.querySelectorAll('.bar a')].map(link => getComputedStyle(link).backgroundColor)"
    by_state = window.run(colours)
    assert len(set(by_state)) >= 4
    window.press(TAB)
    assert window.label(window.active()) == "state"
    window.press("\ue014")  # arrow right
    assert window.label(window.active()) == "server group"
    by_group = window.run(colours)
    assert by_group != by_state
    window.press("\ue014")
    assert window.run(colours) not in (by_state, by_group)
    window.picture(ARTIFACTS / "report-zones.png")


@pytest.mark.soak
def test_every_server_is_reached_by_keyboard_and_leads_to_its_row(window: Browser, report: Path) -> None:
    window.open(report, width=DESK[0], height=DESK[1])
    links = window.find(".bar a")
    window.press(TAB)  # the colours are one stop
    reached = []
    for _link in links:
        window.press(TAB)
        reached.append(window.active())
    assert reached == links
    assert window.label(links[0]).startswith("web0, ACTIVE, 1 v")
    window.press(ENTER)
    assert window.run("return document.querySelector(':target th').textContent") in window.label(reached[-1])
    (first, second) = window.find("summary")
    window.run("arguments[0].focus()", {"element-6066-11e4-a52e-4f735466cecf": second})
    assert not window.run("return document.querySelectorAll('details')[1].open")
    window.press(SPACE)
    assert window.run("return document.querySelectorAll('details')[1].open")
    assert "1 of 2 servers find a host" in window.label(first)


@pytest.mark.soak
def test_a_screen_reader_is_told_what_the_eye_sees(window: Browser, report: Path) -> None:
    window.open(report, width=DESK[0], height=DESK[1])
    sections = window.find("section")
    assert [(window.role(each), window.label(each)) for each in sections[:2]] == [
        ("region", "host kvm0"),
        ("region", "host kvm1"),
    ]
    bar = window.find(".bar")[0]
    assert (window.role(bar), window.label(bar)) == ("list", "kvm0, vCPU now: 17 of 32")
    assert {window.role(each) for each in window.find(".bar a")} == {"link"}
    assert {window.role(each) for each in window.find("th[scope=row]")} == {"rowheader"}
    assert [window.role(each) for each in window.find("input")] == ["radio"] * 3
    assert all(window.label(each) for each in window.find(".bar a, input, summary, section"))

# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's page: whole HTML that fetches nothing, says in words what it shows in colours, and quotes every text."""

from __future__ import annotations

import dataclasses
import html.parser
import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    GIB,
    Disk,
    Flavor,
    Hardware,
    Image,
    Record,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import as_defined
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.report import Block, Box, Loss, Report, report
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import Run, reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._report import page, write
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.shapes import Shapes

EVIL = "<script>alert('x')</script>&\"'{{ 1 }}"
VOID = {"input", "meta"}
SHA = "sha256:" + "a" * 64
FLEET: dict[str, t.Any] = {
    "fleet_name": "office",
    "fleet_flavors": {"small": {"vcpus": 1, "ram": 1024, "disk": 1}, "big": {"vcpus": 2, "ram": 6144, "disk": 2}},
    "fleet_images": {"tick": {"file": "/tick.qcow2", "format": "qcow2", "checksum": SHA}},
    "fleet_networks": {"lan": {"bridge": "br0"}},
    "fleet_server_groups": {"apart": {"policy": "anti-affinity"}},
}
WEB = {"server_flavor": "small", "server_image": "tick", "server_networks": ["lan"], "server_group": "apart"}


class Page(html.parser.HTMLParser):
    """What a page holds, and whether all that it opens is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def values(self, attribute: str) -> list[str]:
        return [str(attributes[attribute]) for _tag, attributes in self.elements if attribute in attributes]


def block(name: str, vcpus: int = 1, **more: t.Any) -> Block:
    return Block(name, "ACTIVE", {"vcpus": vcpus, "memory": 1024, "disk": 1}, "small", **more)


def box(name: str, *before: Block, after: t.Sequence[Block] | None = None, **changes: t.Any) -> Box:
    made = Box(
        name,
        "enabled",
        "",
        "az1",
        {"vcpus": 4.0, "memory": 8192.0, "disk": 100.0},
        {"vcpus": 1.0, "memory": 0.0, "disk": 0.0},
        before,
        before if after is None else tuple(after),
    )
    return dataclasses.replace(made, **changes)


def shown(*boxes: Box, **more: t.Any) -> Page:
    return Page(page(Report("office", boxes, (), **{"changes": (), "losses": (), **more}), now=0.0))


def test_the_page_needs_nothing_but_itself() -> None:
    found = shown(box("kvm1", block("web1")))
    tags = {tag for tag, _attributes in found.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "video", "audio", "base", "form"}
    assert not set(found.values("src"))
    assert all(href.startswith("#") for href in found.values("href"))
    style = "".join(found.texts[: found.texts.index("Fleet office") + 3])
    assert not re.search(r"url\(|@import|https?:", style)
    policy = next(meta["content"] for meta in found.all("meta") if "http-equiv" in meta)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert not [name for _tag, attributes in found.elements for name in attributes if name.startswith("on")]


def test_it_is_reached_by_keyboard_and_read_aloud() -> None:
    found = shown(box("kvm1", block("web1"), block("web2")), box("kvm2", state="down", reason="no route"))
    assert found.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in found.all("meta")
    ids = found.values("id")
    assert len(ids) == len(set(ids))
    assert {href[1:] for href in found.values("href")} <= set(ids)
    assert {label["for"] for label in found.all("label")} == {radio["id"] for radio in found.all("input")}
    assert all(link["aria-label"] for link in found.all("a"))
    bars = [each["aria-label"] for each in found.all("ul") if each.get("class") == "bar"]
    assert bars[:2] == ["kvm1, vCPU now: 3 of 4", "kvm1, MiB memory now: 2048 of 8192"]
    assert [tag for tag, _attributes in found.elements if re.fullmatch("h[1-6]", tag)][:3] == ["h1", "h2", "h3"]
    assert "down" in found.texts, "the state stands in words too"
    assert all(head.get("scope") in ("col", "row") for head in found.all("th"))


def test_hosts_are_filled_to_scale() -> None:
    found = shown(box("kvm1", block("web1", 2), block("web2", 1)))
    widths = [float(str(item["style"])[6:-1]) for item in found.all("li") if "style" in item]
    assert widths[:3] == [50.0, 25.0, 25.0], "of four vCPUs two, one, and one of others"
    over = shown(box("kvm1", block("web1", 7)))
    widths = [float(str(item["style"])[6:-1]) for item in over.all("li") if "style" in item]
    assert sum(widths[:2]) == pytest.approx(100), "what is promised beyond the host makes no bar longer than its box"


def test_before_and_after_the_plan() -> None:
    found = shown(box("kvm1", block("web1"), after=[block("web1"), block("web2")]), changes=("web2: + create",))
    labels = [each["aria-label"] for each in found.all("ul") if each.get("class") == "bar"]
    assert labels[:2] == ["kvm1, vCPU now: 2 of 4", "kvm1, vCPU after the plan: 3 of 4"]
    assert [link["title"] for link in found.all("a")][:3] == [
        "web1, ACTIVE, 1 vCPU",
        "web1, ACTIVE, 1 vCPU",
        "web2, ACTIVE, 1 vCPU, planned",
    ]
    assert "web2: + create" in found.texts
    assert any("change nothing" in text for text in shown(box("kvm1")).texts)
    assert "There is no plan: no ledger" in shown(box("kvm1"), no_plan="no ledger").texts


def test_hostile_names_stay_text() -> None:
    evil = block(EVIL, group=EVIL, zone=EVIL, addresses=(EVIL,))
    loss = Loss(EVIL, {EVIL: EVIL}, {"x": EVIL}, (EVIL,))
    evil_box = box(EVIL, evil, reason=EVIL, zone=EVIL, after=[evil, block(EVIL + "2")])
    found = shown(evil_box, changes=(EVIL,), losses=(loss,), no_plan="")
    assert not found.all("script")
    assert EVIL in found.texts
    assert not [value for value in found.values("style") if "script" in value]
    assert not [value for value in found.values("id") if "<" in value]


def test_a_loss_says_who_finds_no_host() -> None:
    found = shown(losses=(Loss("kvm1", {"web1": "kvm2"}, {"web2": "No valid host was found for web2"}, ("web1",)),))
    text = "".join(found.texts)
    assert "kvm1: 1 of 2 servers find a host" in text
    assert "web1 to kvm2 (from its image: no other host has its disk)" in text
    assert "No valid host was found for web2" in text


def test_a_relative_path_is_taken_from_where_the_run_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Shapes().findings("fleet_report", "fleet.html") == ()
    assert Shapes().findings("fleet_report", "")
    monkeypatch.chdir(tmp_path)
    assert write("fleet.html", "new") == tmp_path / "fleet.html"
    assert (tmp_path / "fleet.html").read_text() == "new"


def test_the_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "fleet.html"
    target.write_text("old")
    write(str(target), "new ü")
    assert target.read_text(encoding="utf-8") == "new ü"
    assert [file.name for file in tmp_path.iterdir()] == ["fleet.html"]
    with pytest.raises(FlotillaError, match=r"fleet_report: .*/nowhere/fleet\.html can't be written: No such file"):
        write(str(tmp_path / "nowhere" / "fleet.html"), "x")


def survey(name: str, memory: int = 8192) -> dict[str, t.Any]:
    marker = {"host_id": f"id-{name}", "fleet_id": "F", "ledger_id": "L", "service": None}
    pool = {"id": f"pool-{name}", "active": True, "capacity": 100 * GIB, "allocation": 0, "capabilities": ["create"]}
    return {
        "host_id": f"id-{name}",
        "marker": marker,
        "qemu": 7002000,
        "virt_types": ["qemu"],
        "cpu": {"count": 4, "arch": "x86_64"},
        "memory": memory,
        "pools": {"local": {**pool, "volumes": {}, "volumes_total": 0}},
        "networks": {},
        "bridges": ["br0"],
        "running_steps": [],
    }


def record(number: int, name: str, flavor: Flavor) -> Record:
    server_id = f"00000000-0000-4000-8000-{number:012d}"
    return Record(
        id=server_id,
        name=name,
        fleet_id="F",
        generation=1,
        spec={"group": "apart", "networks": [{"network": "lan"}]},
        flavor=flavor,
        image=Image("tick", "qcow2", SHA),
        disks=(Disk("root", "local", f"{server_id}-root", "qcow2", GIB, "vda", "virtio", pool_id="pool-kvm1"),),
        nics=(),
        hardware=Hardware(),
        host_id="id-kvm1",
    )


def test_the_fleet_as_data_from_surveys_to_the_rehearsal() -> None:
    """kvm1 has web1 and a big one that fits nowhere else; web2 is new and goes to kvm2."""
    declared = declare(FLEET, {"kvm1": {}, "kvm2": {}}, {"web1": WEB, "web2": WEB}, {})
    running = [
        dataclasses.replace(as_defined(one), state="running")
        for one in (record(1, "web1", Flavor("small", 1, 1024, 1)), record(2, "db1", Flavor("big", 2, 6144, 2)))
    ]
    computes = [
        Compute("kvm1", declared.computes["kvm1"], survey("kvm1"), tuple(running)),
        Compute("kvm2", declared.computes["kvm2"], survey("kvm2", memory=4096)),
    ]
    take_over = dataclasses.replace(declared, settings=dataclasses.replace(declared.settings, take_over=True))
    plan, _fleet = reconcile(take_over, computes, Run(None, None, 0.0), now=0.0)
    made = report(declared, computes, None, plan)
    kvm1, kvm2 = made.boxes
    assert [one.name for one in kvm1.before] == ["db1", "web1"]
    assert kvm1.capacity["vcpus"] == 16
    assert (kvm1.others["vcpus"], kvm1.others["memory"]) == (0, 0)
    assert ([one.name for one in kvm2.before], [one.name for one in kvm2.after]) == ([], ["web2"])
    assert any(line.startswith("web2: ") and "create" in line for line in made.changes)
    (loss,) = made.losses
    assert (loss.host, loss.placed, loss.rebuilt) == ("kvm1", {"web1": "kvm2"}, ("web1",))
    assert list(loss.refused) == ["db1"]
    assert loss.refused["db1"].startswith("No valid host was found for db1")
    Page(page(made, now=0.0))

# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is seen of real files that qemu-img makes, beside what qemu-img sees itself."""

from __future__ import annotations

import json
import subprocess
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.image_format import HEAD_SIZE, inspect

if t.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.flotilla.compute.plugins.module_utils._core.image_format import ImageFacts

SIZE = 16 * 1024**2
#: A short measurement of what a key costs often ends so, on some machines each second time.
CLOCK = "Unable to get accurate CPU usage"
TRIES = 50
SECRET = ("--object", "secret,id=s,data=hunter2")


def make(folder: Path, *options: str, name: str = "image") -> Path:
    file = folder / name
    command = ["qemu-img", "create", *(option.format(folder=folder) for option in options), str(file), str(SIZE)]
    for _ in range(TRIES):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if CLOCK not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    return file


def look(file: Path) -> ImageFacts:
    with file.open("rb") as opened:
        return inspect(opened.read(HEAD_SIZE), file.stat().st_size)


@pytest.mark.parametrize(
    "options",
    [
        ("-f", "raw"),
        ("-f", "qcow2"),
        ("-f", "qcow2", "-o", "compat=0.10"),
        ("-f", "qcow2", "-o", "compression_type=zstd"),
        ("-f", "qcow2", "-o", "extended_l2=on"),
        ("-f", "qcow2", "-o", "cluster_size=2M"),
        ("-f", "qcow2", "-o", "cluster_size=512"),
        ("-f", "qcow2", "-o", "preallocation=full"),
        ("-f", "qcow2", "-o", "lazy_refcounts=on"),
    ],
    ids=" ".join,
)
def test_good_images_have_the_size_that_qemu_sees(tmp_path: Path, options: tuple[str, ...]) -> None:
    file = make(tmp_path, *options)
    facts = look(file)
    command = ["qemu-img", "info", "--output", "json", "-f", options[1], str(file)]
    seen = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert (facts.format, facts.virtual_size, facts.problems) == (seen["format"], seen["virtual-size"], ())


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("-f", "qcow2", "-b", "base", "-F", "raw"), "has a backing file"),
        (("-f", "qcow2", "-o", "compat=0.10", "-b", "base", "-F", "raw"), "has a backing file"),
        (("-f", "qcow2", "-o", "data_file={folder}/data"), "keeps its data in an external file"),
        (("-f", "qcow2", "-o", "data_file={folder}/data,data_file_raw=on"), "keeps its data in an external file"),
        (
            (*SECRET, "-f", "qcow2", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"),
            "is encrypted",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_qcow2_files_that_reach_out_are_seen(tmp_path: Path, options: tuple[str, ...], problem: str) -> None:
    make(tmp_path, "-f", "raw", name="base")
    facts = look(make(tmp_path, *options))
    assert facts.format == "qcow2"
    assert [told for told in facts.problems if problem in told]


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        (("-f", "vmdk"), "vmdk"),
        (("-f", "vmdk", "-o", "subformat=monolithicFlat"), "vmdk"),
        (("-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse"), "vmdk"),
        (("-f", "vmdk", "-o", "subformat=streamOptimized"), "vmdk"),
        (("-f", "vdi"), "vdi"),
        (("-f", "vpc"), "vhd"),
        (("-f", "vhdx"), "vhdx"),
        (("-f", "qed"), "qed"),
        (("-f", "parallels"), "parallels"),
        ((*SECRET, "-f", "luks", "-o", "key-secret=s,iter-time=10"), "luks"),
        (("-f", "qcow"), "qcow2"),  # the first version, with the same magic; refused by its version
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_other_formats_are_seen(tmp_path: Path, options: tuple[str, ...], seen: str) -> None:
    facts = look(make(tmp_path, *options))
    assert facts.format == seen
    assert facts.problems


def test_only_sparse_vmdk_in_one_file_is_called_convertible(tmp_path: Path) -> None:
    assert "convert it" in look(make(tmp_path, "-f", "vmdk")).problems[0]
    flat = look(make(tmp_path, "-f", "vmdk", "-o", "subformat=monolithicFlat", name="flat"))
    assert "'monolithicFlat', which may name other files" in flat.problems[0]

# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The artifact holds what git tracks under collection/, no less (a link that leads out) and no more (junk)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

_CATALOGS = {
    "fleet_flavors": {"tiny": {"vcpus": 1, "ram": 128, "disk": 1}},
    "fleet_images": {"tick": {"file": "/tick.qcow2", "format": "qcow2", "checksum": f"sha256:{'a' * 64}"}},
}


def _listing(root: Path) -> set[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."]
    output = subprocess.run(command, cwd=root / "collection", capture_output=True, text=True, check=True).stdout
    return {name for name in output.split("\0") if name and (root / "collection" / name).exists()}


def test_the_artifact_holds_what_git_tracks(root: Path, tmp_path: Path) -> None:
    before = _listing(root)
    command = ["ansible-galaxy", "collection", "build", "--output-path", str(tmp_path), str(root / "collection")]
    built = subprocess.run(command, capture_output=True, text=True, check=True)
    after = _listing(
        root
    )  # where somebody works in the checkout meanwhile, only what was there throughout is asked for

    with tarfile.open(tmp_path / "flotilla-compute-0.1.0.tar.gz") as artifact:
        files = [(member.name, artifact.extractfile(member)) for member in artifact if not member.isdir()]
        packed = {name: file.read() for name, file in files if file is not None}

    assert "WARNING" not in built.stderr
    made_by_the_build = {"MANIFEST.json", "FILES.json"}
    assert packed.keys() - made_by_the_build <= (before | after) - {"galaxy.yml"}
    there = (before & after) - {"galaxy.yml"}
    assert there <= packed.keys()
    assert [name for name in sorted(there) if packed[name] != (root / "collection" / name).read_bytes()] == []


def _built(root: Path, target: Path, **environment: str) -> Path:
    command = [str(root / "tools" / "build"), str(target)]
    subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)
    return target / "flotilla-compute-0.1.0.tar.gz"


def test_two_builds_are_the_same_to_the_last_bit(root: Path, tmp_path: Path) -> None:
    """Of two checkouts whose files have other times, modes for others, and another order on the disk."""
    copy = tmp_path / "copy"
    for name in sorted(_listing(root), reverse=True):
        (copy / "collection" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / "collection" / name, copy / "collection" / name)
        (copy / "collection" / name).chmod((root / "collection" / name).stat().st_mode & 0o700)
    (copy / "tools").mkdir()
    shutil.copy(root / "tools" / "build", copy / "tools" / "build")

    first = _built(root, tmp_path / "first", SOURCE_DATE_EPOCH="1000000000")
    second = _built(copy, tmp_path / "second", SOURCE_DATE_EPOCH="1000000000")
    assert first.read_bytes() == second.read_bytes()

    with tarfile.open(first) as artifact:
        members = {member.name: member for member in artifact}
        assert {(one.mtime, one.uid, one.uname) for one in members.values()} == {(1000000000, 0, "")}
        contents = {name: artifact.extractfile(name) for name in ("MANIFEST.json", "FILES.json")}
        manifest, files = (file.read() if file is not None else b"" for file in contents.values())
    assert json.loads(manifest)["file_manifest_file"]["chksum_sha256"] == hashlib.sha256(files).hexdigest()
    assert {entry["name"] for entry in json.loads(files)["files"]} - {"."} == set(members) - set(contents)


def test_an_installed_artifact_runs_its_playbooks(root: Path, tmp_path: Path) -> None:
    """In an empty folder, with no checkout and no settings beside it."""
    artifact, collections = _built(root, tmp_path / "dist"), tmp_path / "collections"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    command = ["ansible-galaxy", "collection", "install", "--offline", "-p", str(collections), str(artifact)]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert (collections / "ansible_collections/flotilla/compute/MANIFEST.json").exists()

    inventory = {
        "all": {"vars": {"fleet_ledger": f"sqlite:///{tmp_path}/fleet.db", **_CATALOGS}},
        "computes": {"hosts": {"kvm1": {"ansible_host": "127.0.0.1", "ansible_port": 9}}},  # nobody listens there
        "servers": {"hosts": {"web1": {"server_flavor": "tiny", "server_image": "tick"}}},
    }
    (tmp_path / "hosts.json").write_text(json.dumps(inventory))
    run = subprocess.run(
        ["ansible-playbook", "-i", "hosts.json", "flotilla.compute.reconcile", "--check"],
        cwd=tmp_path,
        env={**environment, "ANSIBLE_COLLECTIONS_PATH": str(collections)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0, run.stdout
    assert "Plan for fleet 'default'" in run.stdout, run.stdout + run.stderr
    assert "web1 may be on kvm1 (never seen by this ledger)" in run.stdout, run.stdout
    assert not (tmp_path / "fleet.db").exists()

# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guest's image with a second partition: an ext4 file system for what its own few files are not enough for."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import typing as t

from tests.host.guests import CACHE, CODE, HostUnderTest, lab, virsh

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Image

if t.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import Snapshot

_BEGIN, _LENGTH = 40 * 2048, 20 * 2048  # sectors


def with_partition(host: HostUnderTest, name: str, folder: Path | None = None) -> Image:
    """The image, with what is in *folder* on its second partition, brought to the host. Its guests have an agent."""
    raw, path = CODE / f"{name}.raw", CODE / f"{name}.qcow2"
    far = b"\xfe\xff\xff"
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(CACHE / "tick.qcow2"), str(raw)], check=True)
    with raw.open("r+b") as file:
        file.truncate(64 * 1024**2)
        file.seek(446 + 16)
        file.write(struct.pack("<B3sB3sII", 0, far, 0x83, far, _BEGIN, _LENGTH))
    content = [] if folder is None else ["-d", str(folder)]
    options = ["-q", "-F", "-O", "^orphan_file", *content, "-E", f"offset={_BEGIN * 512}", str(raw)]
    subprocess.run(["mkfs.ext4", *options, f"{_LENGTH // 2}k"], check=True)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(raw), str(path)], check=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    image = Image(name, "qcow2", f"sha256:{digest}", properties={"hw_qemu_guest_agent": "yes"})
    host.ask("image", pool="local", image=image.to_json(), path=str(path))
    host.kept |= {image.volume, f"{image.volume}.ok"}
    return image


def check_file_system(host: HostUnderTest, snapshot: Snapshot) -> None:
    """Replay the journal of the snapshot's second partition, as its next mount would, and find nothing else amiss."""
    path = virsh("vol-path", "--pool", snapshot.pool, snapshot.image.volume).strip()
    script = (
        f"cd /tmp && qemu-img convert -O raw {path} whole && dd if=whole of=part bs=1M skip={_BEGIN // 2048} "
        f"count={_LENGTH // 2048} status=none && rm whole; e2fsck -E journal_only -y part; e2fsck -f -n part"
    )
    done = lab("exec", host.name, "sh", "-c", f"{script} && echo all is well", check=False)
    assert "all is well" in done, done

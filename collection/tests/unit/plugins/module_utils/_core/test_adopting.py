# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What domains of other tools say of themselves."""

from __future__ import annotations

from ansible_collections.flotilla.compute.plugins.module_utils._core.adopting import describe

# As virt-install and virt-manager make them, shortened.
VIRT_INSTALL = """
<domain type='kvm'>
  <name>mail</name><uuid>6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a09</uuid>
  <metadata><libosinfo:libosinfo xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'/></metadata>
  <memory unit='KiB'>2097152</memory><vcpu placement='static'>2</vcpu>
  <os firmware='efi'><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><loader type='pflash'>/f.fd</loader></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
    <disk type='file' device='cdrom'><source file='/iso/x.iso'/><target dev='sdb' bus='sata'/><readonly/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/p/data'/>
      <target dev='vdb' bus='virtio'/><boot order='2'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/p/mail.qcow2'/>
      <target dev='vda' bus='virtio'/><boot order='1'/></disk>
    <controller type='usb' index='0' model='qemu-xhci'/>
    <interface type='bridge'><mac address='52:54:00:AA:BB:01'/><source bridge='br0'/><model type='e1000e'/>
      <mtu size='9000'/></interface>
    <interface type='direct'><mac address='52:54:00:aa:bb:02'/><source dev='eth0' mode='bridge'/></interface>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <tpm model='tpm-crb'><backend type='emulator'/></tpm>
    <graphics type='spice'/><video><model type='qxl'/></video>
    <hostdev mode='subsystem' type='pci'/>
    <memballoon model='virtio'/>
  </devices>
</domain>
"""


def test_a_domain_of_virt_install() -> None:
    assert describe(VIRT_INSTALL) == {
        "arch": "x86_64",
        "machine": "pc-q35-7.2",
        "firmware": "uefi",
        "video_model": "qxl",
        "guest_agent": True,
        "disks": [
            {"target": "vda", "bus": "virtio", "format": "qcow2", "boot": 1, "readonly": False},
            {"target": "vdb", "bus": "virtio", "format": "raw", "boot": 2, "readonly": False},
        ],
        "nics": [
            {"kind": "bridge", "source": "br0", "mac": "52:54:00:aa:bb:01", "model": "e1000e", "mtu": 9000},
            {"kind": "direct", "source": None, "mac": "52:54:00:aa:bb:02", "model": "virtio", "mtu": None},
        ],
        "unrecorded": ["cdrom with a medium", "hostdev", "tpm"],
    }


def test_the_least_that_a_domain_can_say() -> None:
    said = describe("<domain><name>x</name><devices><disk><source file='/p/x'/></disk></devices></domain>")
    assert said["disks"] == [{"target": "", "bus": "", "format": "raw", "boot": 0, "readonly": False}]
    assert (said["firmware"], said["video_model"], said["guest_agent"], said["nics"]) == ("bios", "none", False, [])
    assert describe("<domain><name>x</name></domain>")["disks"] == []

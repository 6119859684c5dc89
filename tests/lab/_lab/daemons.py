# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files a host starts with: libvirt's and sshd's configuration, pools, names, keys."""

from __future__ import annotations

import os
import shutil
import typing as t
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import disks
from .layout import CACHE, LIBVIRT_TCP_PORT, LOCAL_POOL, PRIVATE_FILES, PRIVATE_FOLDERS, SHARED_POOL, Host, Lab
from .run import run

NWFILTERS = Path("/usr/share/libvirt/nwfilter")
# QEMU takes a third of a second to be asked what it can do; every host may start with the first one's answers.
CAPABILITIES = "/var/cache/libvirt/qemu/capabilities"
CAPABILITIES_CACHE = CACHE / "capabilities"

# Folders below the host's own ones that the packages bring along.
PACKAGED_FOLDERS = ("/var/log/libvirt/qemu", "/var/lib/libvirt/images", "/var/lib/libvirt/boot")
# libvirtd of Debian doesn't start without the user of its QEMU processes, though qemu.conf names another one.
# It comes with the package libvirt-daemon-system, whose services a lab must not have on the machine itself.
LIBVIRT_USERS = ("libvirt-qemu:x:64055:64055:Libvirt Qemu:/var/lib/libvirt:/usr/sbin/nologin",)
LIBVIRT_GROUPS = ("libvirt-qemu:x:64055:", "kvm:x:64054:", "libvirt:x:64053:")

# A distinct UUID a host: libvirt refuses to migrate a guest to the host it is on.
LIBVIRTD_CONF = """\
host_uuid = "{host_uuid}"
listen_tls = 0
listen_tcp = 1
listen_addr = "{address}"
tcp_port = "{port}"
auth_tcp = "none"
auth_unix_ro = "none"
auth_unix_rw = "none"
max_clients = 500
max_workers = 40
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""

QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
remember_owner = 0
"""

POOL_XML = """\
<pool type='dir'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <target>
    <path>{path}</path>
  </target>
</pool>
"""

SSHD_CONFIG = """\
ListenAddress {address}
PidFile /run/sshd.pid
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
MaxSessions 100
MaxStartups 100
Subsystem sftp internal-sftp
"""

SSH_CONFIG = """\
Host {names}
    User root
    IdentityFile {ssh}/id_ed25519
    IdentitiesOnly yes
    UserKnownHostsFile {ssh}/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
"""


def write_controller_files(lab: Lab, hosts: t.Sequence[Host]) -> None:
    """The controller's key, and all keys of the hosts, so that nobody is ever asked to trust one."""
    lab.ssh.mkdir(mode=0o700)
    disks.mount_new(lab.folder / "shared.disk", lab.shared_pool)
    for host in hosts:
        host.path("/etc/ssh").mkdir(parents=True)
    files = [lab.ssh / "id_ed25519", *(_host_key(host) for host in hosts)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(_make_key, files, [f"controller of {lab.name}", *(host.name for host in hosts)]))
    known = (f"{host.address},{host.name} {_public(_host_key(host))}" for host in hosts)
    (lab.ssh / "known_hosts").write_text("".join(known))
    names = (f"Host {host.name}\n    HostName {host.address}\n" for host in hosts)
    everything = SSH_CONFIG.format(names=" ".join(host.name for host in hosts), ssh=lab.ssh)
    (lab.ssh / "config").write_text("".join(names) + everything)


def write_host_files(host: Host, hosts: t.Sequence[Host]) -> None:
    """All that is the host's own; its UUID and machine id are new each time, as with a machine just bought."""
    for folder in PRIVATE_FOLDERS:
        host.path(folder).mkdir(parents=True, exist_ok=True)
    for folder in ("/tmp", "/var/tmp"):
        host.path(folder).chmod(0o1777)
    host.path("/root").chmod(0o700)
    for folder in (*PACKAGED_FOLDERS, SHARED_POOL):
        host.path(folder).mkdir(parents=True)
    disks.mount_new(host.folder / "local.disk", host.path(LOCAL_POOL))
    passwd = _with_entries("/etc/passwd", LIBVIRT_USERS)
    contents = {
        "/etc/group": _with_entries("/etc/group", LIBVIRT_GROUPS),
        "/etc/hostname": f"{host.name}\n",
        "/etc/hosts": "127.0.0.1 localhost\n" + "".join(f"{each.address} {each.name}\n" for each in hosts),
        "/etc/machine-id": f"{uuid.uuid4().hex}\n",
        "/etc/passwd": passwd,
        "/etc/shadow": _shadow(passwd),
    }
    for file in PRIVATE_FILES:
        host.path(file).write_text(contents[file])
    host.path("/etc/shadow").chmod(0o600)
    _write_libvirt(host)
    _write_sshd(host)


def _write_libvirt(host: Host) -> None:
    etc = host.path("/etc/libvirt")
    conf = LIBVIRTD_CONF.format(host_uuid=uuid.uuid4(), address=host.address, port=LIBVIRT_TCP_PORT)
    (etc / "libvirtd.conf").write_text(conf)
    (etc / "qemu.conf").write_text(QEMU_CONF)
    shutil.copytree(NWFILTERS, etc / "nwfilter")
    autostart = etc / "storage" / "autostart"
    autostart.mkdir(parents=True)
    for name, path in (("local", LOCAL_POOL), ("shared", SHARED_POOL)):
        (etc / "storage" / f"{name}.xml").write_text(POOL_XML.format(name=name, uuid=uuid.uuid4(), path=path))
        (autostart / f"{name}.xml").symlink_to(f"/etc/libvirt/storage/{name}.xml")
    if CAPABILITIES_CACHE.is_dir():
        shutil.copytree(CAPABILITIES_CACHE, host.path(CAPABILITIES))


def _write_sshd(host: Host) -> None:
    etc = host.path("/etc/ssh")
    (etc / "sshd_config").write_text(SSHD_CONFIG.format(address=host.address))
    authorized = etc / "authorized_keys"
    authorized.write_text(_public(host.lab.ssh / "id_ed25519"))
    authorized.chmod(0o600)


def keep_capabilities(host: Host) -> None:
    """Keeps what libvirt has learnt of QEMU for labs to come; libvirt itself sees when it is out of date."""
    learnt = host.path(CAPABILITIES)
    if CAPABILITIES_CACHE.is_dir() or not learnt.is_dir():
        return
    fresh = CACHE / f"capabilities.{os.getpid()}"
    shutil.copytree(learnt, fresh)
    os.replace(fresh, CAPABILITIES_CACHE)


def _with_entries(file: str, entries: t.Sequence[str]) -> str:
    """The machine's users or groups, and those of libvirt that it may lack."""
    lines = Path(file).read_text().splitlines()
    known = {_name_of(line) for line in lines}
    missing = [entry for entry in entries if _name_of(entry) not in known]
    return "".join(f"{line}\n" for line in [*lines, *missing])


def _shadow(passwd: str) -> str:
    """No password for anybody; sshd without PAM turns away a user whose entry is locked by `!`, as root's often is."""
    return "".join(f"{_name_of(line)}:*:19000:0:99999:7:::\n" for line in passwd.splitlines())


def _name_of(line: str) -> str:
    return line.partition(":")[0]


def _host_key(host: Host) -> Path:
    return host.path("/etc/ssh/ssh_host_ed25519_key")


def _make_key(file: Path, comment: str) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file))


def _public(key: Path) -> str:
    return key.with_name(f"{key.name}.pub").read_text()

#!/usr/bin/env bash
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What creating servers with Flotilla is measured against: a careful person's script. Each server gets an overlay on the
# image that is on its host already, a config drive and a domain, by one SSH login over a warm connection; AT_ONCE of them
# at a time.
#
#   create_by_hand.sh SSH_CONFIG CONTROL_PATH IMAGE STATE AT_ONCE LIST
#
# IMAGE is the backing file's path on the hosts, STATE is active or stopped, LIST a file with a line a server:
# name, host, uuid, address.
set -euo pipefail

export SSH_CONFIG=$1 CONTROL_PATH=$2 IMAGE=$3 STATE=$4
readonly at_once=$5 list=$6
export POOL=/var/lib/libvirt/pools/local

domain() {
  cat <<XML
<domain type='qemu'>
  <name>$name</name>
  <uuid>$uuid</uuid>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os><type>hvm</type></os>
  <features><acpi/><apic/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none' discard='unmap'/><source file='$POOL/$name-root'/>
      <target dev='vda' bus='virtio'/><boot order='1'/>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='$POOL/$name-config'/><target dev='vdb' bus='virtio'/><readonly/>
    </disk>
    <interface type='bridge'><source bridge='br0'/><model type='virtio'/></interface>
    <serial type='pty'><log file='/var/log/libvirt/qemu/$uuid.console.log' append='off'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <graphics type='vnc' listen='127.0.0.1'/>
    <video><model type='virtio'/></video>
    <memballoon model='virtio'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
XML
}

# A FAT file system with the label config-2, the other of the two forms that Nova has: made without root.
config_drive() {
  local drive=$1/$name-config
  truncate -s 1M "$drive"
  mformat -i "$drive" -v CONFIG-2 ::
  mmd -i "$drive" ::openstack ::openstack/latest
  printf '{"uuid": "%s", "name": "%s", "hostname": "%s"}' "$uuid" "$name" "$name" |
    mcopy -i "$drive" - ::openstack/latest/meta_data.json
  printf '{"links": [{"id": "net0", "type": "bridge"}], "networks": [{"id": "lan", "link": "net0", "type": "ipv4", "ip_address": "%s", "netmask": "255.255.0.0"}], "services": []}' "$address" |
    mcopy -i "$drive" - ::openstack/latest/network_data.json
}

create() {
  name=$1 host=$2 uuid=$3 address=$4 folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  config_drive "$folder"
  domain >"$folder/$name.xml"
  tar -C "$folder" -cS "$name-config" "$name.xml" |
    ssh -F "$SSH_CONFIG" -o ControlMaster=auto -o ControlPersist=60s -o ControlPath="$CONTROL_PATH" "$host" "
      set -e; cd $POOL; tar -x
      qemu-img create -q -f qcow2 -F qcow2 -b $IMAGE $name-root 1G
      virsh -q define $name.xml; rm $name.xml
      [ $STATE = stopped ] || virsh -q start $name"
}
export -f domain config_drive create

# shellcheck disable=SC2016 # expanded by the inner shell
xargs -a "$list" -P "$at_once" -L 1 bash -euo pipefail -c 'create "$@"' create

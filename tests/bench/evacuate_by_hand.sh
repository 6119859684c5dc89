#!/usr/bin/env bash
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What an evacuation is measured against: somebody has the XML of each server at hand, knows where it is to go, and
# defines and starts it there, by one SSH login over a warm connection; AT_ONCE of them at a time.
#
#   evacuate_by_hand.sh SSH_CONFIG CONTROL_PATH AT_ONCE LIST
#
# LIST is a file with a line a server: name, host, file with the domain's XML.
set -euo pipefail

export SSH_CONFIG=$1 CONTROL_PATH=$2
readonly at_once=$3 list=$4

bring_back() {
  ssh -F "$SSH_CONFIG" -o ControlMaster=auto -o ControlPersist=60s -o ControlPath="$CONTROL_PATH" "$2" "
    set -e; virsh -q define /dev/stdin; virsh -q start $1" <"$3"
}
export -f bring_back

# shellcheck disable=SC2016 # expanded by the inner shell
xargs -a "$list" -P "$at_once" -L 1 bash -euo pipefail -c 'bring_back "$@"' bring_back

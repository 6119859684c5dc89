#!/bin/awk -f
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Flattens JSON: one line `path=value` a scalar, as in networks.0.ip_address=10.214.0.21. Escapes in strings stay.

{ text = text $0 "\n" }

END { value("") }

function skip() { sub(/^[ \t\r\n]+/, "", text) }

function take(length_) {
    token = substr(text, 1, length_)
    text = substr(text, length_ + 1)
    skip()
    return token
}

function string() {
    match(text, /^"([^"\\]|\\.)*"/)
    take(RLENGTH)
    return substr(token, 2, length(token) - 2)
}

function value(path,    index_, key) {
    skip()
    if (text ~ /^\{/) {
        take(1)
        while (text ~ /^"/) {
            key = string()
            take(1)
            value(path == "" ? key : path "." key)
            if (text ~ /^,/) take(1)
        }
        take(1)
    } else if (text ~ /^\[/) {
        take(1)
        for (index_ = 0; text !~ /^\]/ && text != ""; index_++) {
            value(path == "" ? index_ : path "." index_)
            if (text ~ /^,/) take(1)
        }
        take(1)
    } else if (text ~ /^"/) {
        print path "=" string()
    } else {
        match(text, /^[^],} \t\r\n]+/)
        print path "=" take(RLENGTH)
    }
}

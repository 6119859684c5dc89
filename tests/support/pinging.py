# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest is pinged all the time, and how long it left that unanswered is what counts."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
import types

_EVERY = 0.05
_REPLY = 0
_REQUEST = 8


class Pinging:
    """Echo requests to an IPv4 address, while the ``with`` lasts."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._id = os.getpid() & 0xFFFF
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.began = 0.0
        self.answers: list[float] = []

    def __enter__(self) -> Pinging:
        self._socket.connect((self._address, 0))
        self.began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_exc: type[BaseException] | BaseException | types.TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    @property
    def longest(self) -> float:
        """The seconds of the longest time without an answer, up to the last one that came."""
        times = [self.began, *self.answers]
        return max((later - earlier for earlier, later in zip(times, times[1:])), default=time.monotonic() - self.began)

    def _run(self) -> None:
        number = 0
        while not self._over.is_set():
            number = (number + 1) & 0xFFFF
            self._ask(number)
            until = time.monotonic() + _EVERY
            while (left := until - time.monotonic()) > 0 and select.select([self._socket], [], [], left)[0]:
                self._take()

    def _ask(self, number: int) -> None:
        head = struct.pack("!BBHHH", _REQUEST, 0, 0, self._id, number)
        try:
            self._socket.send(struct.pack("!BBHHH", _REQUEST, 0, checksum(head), self._id, number))
        except OSError:
            self._over.wait(_EVERY)  # nobody there: no neighbour answers for it now

    def _take(self) -> None:
        try:
            packet = self._socket.recv(2048)
        except OSError:
            return
        body = packet[(packet[0] & 0xF) * 4 :]
        if len(body) >= 8 and (body[0], struct.unpack("!H", body[4:6])[0]) == (_REPLY, self._id):
            self.answers.append(time.monotonic())


def checksum(data: bytes) -> int:
    """The Internet checksum of an even number of bytes (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


__all__ = ["Pinging", "checksum"]

# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line of the lab."""

from __future__ import annotations

import argparse
import os
import sys
import typing as t

from . import host, image, lifecycle, needs, power, report, state
from .errors import LabError


def main(arguments: t.Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        if options.command != "packages":
            needs.check_root()
        return t.cast("int", options.run(options))
    except LabError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _up(options: argparse.Namespace) -> int:
    return _say(lifecycle.up(options.hosts))


def _down(_options: argparse.Namespace) -> int:
    return _say(lifecycle.down())


def _status(options: argparse.Namespace) -> int:
    return _write(report.status_json() if options.json else report.status())


def _exec(options: argparse.Namespace) -> int:
    command = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    entering = host.enter_command(state.running_host(options.host), *(command or ["/bin/bash", "-l"]))
    sys.stdout.flush()
    os.execvp(entering[0], entering)


def _power(options: argparse.Namespace) -> int:
    if options.action is None:
        code, said = power.fence(sys.stdin)
    elif options.host is None:
        raise LabError(f"`lab power {options.action}` needs the host: `lab power {options.action} kvm1`.")
    else:
        code, said = power.act(options.action, state.running_host(options.host))
    _write(said)
    return code


def _cut(options: argparse.Namespace) -> int:
    return _change(host.cut, options.host)


def _join(options: argparse.Namespace) -> int:
    return _change(host.join, options.host)


def _crash(options: argparse.Namespace) -> int:
    return _change(host.crash_libvirtd, options.host)


def _restart(options: argparse.Namespace) -> int:
    return _change(host.restart_libvirtd, options.host)


def _change(act: t.Callable[..., None], name: str) -> int:
    one = state.running_host(name)
    with state.lock():
        act(one)
    return 0


def _console(options: argparse.Namespace) -> int:
    return _write(host.console(state.running_host(options.host), options.server))


def _inventory(_options: argparse.Namespace) -> int:
    return _write(report.inventory())


def _packages(_options: argparse.Namespace) -> int:
    return _say("\n".join(needs.PACKAGES))


def _check(_options: argparse.Namespace) -> int:
    needs.check_kernel()
    return 0


def _image(_options: argparse.Namespace) -> int:
    needs.check_all()
    return _say(str(image.build()))


def _say(sentence: str) -> int:
    return _write(f"{sentence}\n")


def _write(text: str) -> int:
    sys.stdout.write(text)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lab",
        description="Real compute hosts (libvirt, QEMU, SSH) on one machine. FLOTILLA_LAB names the lab; default: lab.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: t.Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    def host_command(name: str, run: t.Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = command(name, run, text)
        added.add_argument("host", help="kvm1, kvm2 and so on")
        return added

    added = command("up", _up, "start a lab")
    added.add_argument("--hosts", type=int, required=True, help="how many compute hosts")
    added.add_argument("--shared", action="store_true", help="taken for granted: the pool `shared` is always there")
    command("down", _down, "end the lab and remove all that belongs to it")
    command("status", _status, "show the lab's hosts").add_argument("--json", action="store_true", help="as JSON")
    added = host_command("exec", _exec, "run a command in a host (a shell without one)")
    added.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND ...", help="the command and its arguments")
    added = command(
        "power", _power, "switch a host; without arguments a fence agent with its options on standard input"
    )
    added.add_argument("action", nargs="?", choices=("on", "off", "reboot", "status"))
    added.add_argument("host", nargs="?", help="kvm1, kvm2 and so on")
    host_command("cut", _cut, "take a host off the network; its guests run on")
    host_command("join", _join, "put a host that was cut off back on the network")
    host_command("crash", _crash, "kill libvirtd of a host; its guests run on")
    host_command("restart", _restart, "start libvirtd of a host again; its guests run on")
    host_command("console", _console, "print what a server wrote to its serial console").add_argument("server")
    command("inventory", _inventory, "print the group `computes` as an Ansible inventory in YAML")
    command("packages", _packages, "print the Debian packages that the lab needs")
    command("check", _check, "see whether this machine can have a lab at all, packages apart; changes nothing")
    command("image", _image, "build the tiny guest image if need be, and print its path")
    return parser

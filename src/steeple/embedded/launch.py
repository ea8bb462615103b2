"""Puts a new process in its place, then becomes the command: ``python -I -S launch.py [options] -- command …``.

A script that imports nothing of Steeple, so that it costs milliseconds. A fresh single-threaded interpreter is also the
only safe place for this: entering a user namespace and dropping root are not possible in a fork of a threaded process.
"""

import argparse
import ctypes
import os
import signal
import sys

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_ID_INSIDE_NAMESPACE = 1000


def main(arguments: list[str]) -> None:
    """Become the command. The order matters: the kernel forgets the death signal when credentials change."""
    options = _parse(arguments)
    if options.umask:
        os.umask(int(options.umask, 8))
    if options.user_namespace:
        _enter_user_namespace()
    if options.uid is not None:
        _become(options.uid, options.gid)
    if options.death_signal:
        _die_with_parent(signal.Signals[options.death_signal], options.parent)
    os.execv(options.command[0], options.command)  # noqa: S606 - the whole purpose of this script


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--umask", help="octal")
    parser.add_argument("--user-namespace", action="store_true")
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    parser.add_argument("--death-signal")
    parser.add_argument("--parent", type=int)
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


def _enter_user_namespace() -> None:
    """Look like an ordinary user to ourselves, while the files stay owned by the user outside."""
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", _CLONE_NEWUSER)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{_ID_INSIDE_NAMESPACE} {uid} 1")
    _write("/proc/self/gid_map", f"{_ID_INSIDE_NAMESPACE} {gid} 1")


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _die_with_parent(death_signal: signal.Signals, parent: int) -> None:
    """Have the kernel send the signal when the thread that started us ends. Linux only."""
    if sys.platform != "linux":
        return
    _call("prctl", _PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def _call(function: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Who an embedded server runs as. PostgreSQL refuses to run as root, so root needs another identity for it.

First choice is a user namespace, in which root is an ordinary user and the files stay root's. Where the kernel or a
container forbids that, the server runs as ``nobody``, and its files are given to that user.
"""

import os
import pwd
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from steeple.errors import ConfigurationError


@dataclass(frozen=True)
class Identity:
    """``uid`` and ``gid`` own the server's files, seen from outside; the options are those of ``launch.py``."""

    name: str
    uid: int
    gid: int
    launch_options: tuple[str, ...] = ()


def ourselves() -> Identity:
    """The user that this process runs as."""
    return Identity("ourselves", os.geteuid(), os.getegid())


def in_user_namespace() -> Identity:
    """Ourselves, but looking like an ordinary user from the inside."""
    return Identity("user namespace", os.geteuid(), os.getegid(), ("--user-namespace",))


def unprivileged_user(name: str = "nobody") -> Identity:
    """An existing unprivileged user of this machine."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ConfigurationError(
            f"PostgreSQL does not run as root, and no user {name!r} to run it as: start steeple as another user"
        ) from None
    return Identity(name, entry.pw_uid, entry.pw_gid, ("--uid", str(entry.pw_uid), "--gid", str(entry.pw_gid)))


def private_directory(path: Path, identity: Identity) -> None:
    """Make a directory that only ``identity`` (and root) can enter. Refuses one that belongs to somebody else."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in _possible_owners(identity):
        raise ConfigurationError(f"{path} belongs to somebody else (uid {found.st_uid}): remove it, or choose another")
    give(path, identity)
    path.chmod(0o700)


def _possible_owners(identity: Identity) -> set[int]:
    """An earlier start as root may have had another identity than this one."""
    ours = {os.geteuid(), identity.uid}
    return ours | {unprivileged_user().uid} if os.geteuid() == 0 else ours


def give(path: Path, identity: Identity) -> None:
    """Make ``identity`` the owner of the whole tree; looks at the top only to see whether that is needed."""
    if path.lstat().st_uid == identity.uid or os.geteuid() != 0:
        return
    for each in _tree(path):  # the top comes last: an interrupted run is taken up again by the next start
        os.chown(each, identity.uid, identity.gid, follow_symlinks=False)


def _tree(path: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(path, topdown=False):
        yield from (Path(folder, name) for name in (*folders, *files))
    yield path


def require_reachable(path: Path, identity: Identity) -> None:
    """Raise ConfigurationError naming the first parent directory that ``identity`` may not enter."""
    barrier = first_barrier(path, identity)
    if barrier is not None:
        raise ConfigurationError(
            f"PostgreSQL does not run as root; it runs as the user {identity.name!r}, who may not enter {barrier}: "
            f"`chmod o+x {barrier}`, choose another data directory, or start steeple as another user"
        )


def first_barrier(path: Path, identity: Identity) -> Path | None:
    """The first parent directory, from the root on, that ``identity`` may not enter."""
    folders = (folder for folder in reversed(path.absolute().parents) if folder.exists())
    return next((folder for folder in folders if not _may_enter(folder.stat(), identity)), None)


def _may_enter(folder: os.stat_result, identity: Identity) -> bool:
    if folder.st_uid == identity.uid:
        return bool(folder.st_mode & stat.S_IXUSR)
    if folder.st_gid == identity.gid:
        return bool(folder.st_mode & stat.S_IXGRP)
    return bool(folder.st_mode & stat.S_IXOTH)


def copy_readable(sources: Iterable[Path], target: Path) -> None:
    """Copy trees into a folder so that everybody can read them. An interrupted copy is never taken for a whole one."""
    unfinished = target.with_name(target.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    unwanted = shutil.ignore_patterns("include", "__pycache__")
    for source in sources:
        shutil.copytree(source, unfinished / source.name, symlinks=True, ignore=unwanted)
    for each in _tree(unfinished):
        if not each.is_symlink():
            executable = 0o111 if each.is_dir() or each.stat().st_mode & stat.S_IXUSR else 0
            each.chmod(each.stat().st_mode | 0o444 | executable)
    unfinished.rename(target)

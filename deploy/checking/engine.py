"""The container engine that is there: a Docker daemon that answers, else podman as root."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from checking.report import Failed

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "steeple-check-image"
NO_ENGINE = 3
_PATIENCE = 300.0

PODMAN_NEEDS = ("podman", "runc", "catatonit", "debootstrap")
HELP = f"""no container engine is here. Either start Docker, or, as root on Debian or Ubuntu:
    apt-get install --no-install-recommends {" ".join(PODMAN_NEEDS)}"""


@dataclass(frozen=True)
class Engine:
    command: tuple[str, ...]
    build_options: tuple[str, ...] = ()
    run_options: tuple[str, ...] = ()
    read_only_options: tuple[str, ...] = ()

    @property
    def is_podman(self) -> bool:
        return self.command[0] == "podman"

    def call(self, *arguments: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [*self.command, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=_PATIENCE)
        if check and done.returncode:
            raise Failed(f"{self.command[0]} {arguments[0]}: exit {done.returncode}: {done.stderr.strip()[-2000:]}")
        return done

    def show(self, *arguments: str) -> None:
        """The same, with its output passed on."""
        if code := subprocess.run([*self.command, *arguments], stdout=sys.stderr, check=False).returncode:
            raise Failed(f"{self.command[0]} {arguments[0]}: exit {code}")


def find_engine() -> Engine:
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        return Engine(("docker",))
    if os.geteuid() == 0 and all(map(shutil.which, PODMAN_NEEDS)):
        return _podman()
    sys.stderr.write(HELP + "\n")
    raise SystemExit(NO_ENGINE)


def _podman() -> Engine:
    """A storage of its own, and the plainest of everything: this runs inside a sandbox or a container too."""
    own = ("--root", str(CACHE / "storage"), "--runroot", str(CACHE / "run"), "--storage-driver=vfs", "--runtime=runc")
    limits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
    # Without cached layers: each is a whole copy of the file system to this storage driver.
    build = ("--isolation=chroot", "--layers=false", *limits)
    return Engine(("podman", *own), build, limits, ("--read-only-tmpfs=false",))

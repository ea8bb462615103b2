"""Builds the image, and looks at what is in it."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from checking.engine import Engine
from checking.report import Failed, expect, passed

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "steeple:check"
UID = "10001"
SUITE = "trixie"
HAND_MADE_BASE = f"steeple-base:{SUITE}"

WRITABLE = """
find / -xdev -writable ! -type l ! -path '/proc/*' ! -path '/dev/*' ! -path '/sys/*' 2>/dev/null \\
    | grep -vE '^/(dev|tmp|var/tmp|run/lock)(/|$)' || true
"""
UNCOMPILED = """
for source in $(find /opt/steeple/lib/python3*/site-packages/steeple -name '*.py'); do
    set -- "$(dirname "$source")/__pycache__/$(basename "$source" .py)".*.pyc
    test -e "$1" || echo "$source"
done
"""


def settle_base(engine: Engine, wanted: str | None) -> str | None:
    """The base to build on; None for the Dockerfile's own."""
    if wanted or not engine.is_podman:
        return wanted
    if engine.call("image", "exists", HAND_MADE_BASE, check=False).returncode:
        with tempfile.TemporaryDirectory(prefix="steeple-base-") as folder:
            root = Path(folder, "root")  # the temporary folder itself is closed to others, as no image's root may be
            packages = "--include=python3,python3-venv,ca-certificates"
            _run("debootstrap", "--variant=minbase", packages, SUITE, str(root))
            _run("tar", "-C", str(root), "-cf", f"{folder}/root.tar", ".")
            engine.show("import", f"{folder}/root.tar", HAND_MADE_BASE)
    return f"localhost/{HAND_MADE_BASE}"


def _run(*command: str) -> None:
    if code := subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise Failed(f"{command[0]}: exit {code}")


def build(engine: Engine, base: str | None) -> None:
    with pip_secrets() as secret_options:
        base_options = ["--build-arg", f"BASE_IMAGE={base}"] if base else []
        options = [*engine.build_options, *secret_options, *base_options, "--tag", IMAGE]
        engine.show("build", "--file", str(ROOT / "deploy/Dockerfile"), *options, str(ROOT))
    if engine.is_podman:  # the storage is ours alone: nothing but the image of the last run is unnamed there
        engine.call("image", "prune", "--force")


@contextlib.contextmanager
def pip_secrets() -> Iterator[list[str]]:
    """This machine's way to packages, handed to the build as secrets so that none of it stays in the image."""
    bundle = _pip("cert") or os.environ.get("SSL_CERT_FILE")
    lines = [f"{name} = {value}" for name in ("index-url", "extra-index-url", "trusted-host") if (value := _pip(name))]
    lines += ["cert = /run/secrets/ca_certificates"] if bundle else []
    with tempfile.NamedTemporaryFile("w", prefix="steeple-pip-") as config:
        config.write("\n".join(["[global]", *lines, ""]))
        config.flush()
        options = ["--secret", f"id=pip_conf,src={config.name}"]
        yield options + (["--secret", f"id=ca_certificates,src={bundle}"] if bundle else [])


def _pip(name: str) -> str:
    """A setting of pip's, without what lies in files here and cannot be seen from the build."""
    keys = (f":env:.{name}", f"global.{name}", f"install.{name}")
    shown = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    found = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
    value = next((found[key].strip("'\"") for key in keys if key in found), "")
    return " ".join(word for word in value.split() if not word.startswith("file:"))


def check_contents(engine: Engine) -> None:
    def inside(script: str, *options: str) -> str:
        options = (*engine.run_options, *options, "--rm", "--network=none", "--entrypoint=sh")
        return engine.call("run", *options, IMAGE, "-euc", script).stdout.strip()

    version = inside("steeple --version; python --version", "--read-only", *engine.read_only_options)
    passed(f"starts on a read-only root: {', '.join(version.splitlines())}")
    expect("user and group", inside("id -u; id -g").split(), [UID, UID])
    expect("build tools", inside("for tool in gcc cc g++ ld make; do command -v $tool || true; done"), "")
    expect("what its user can write", inside(WRITABLE), "/run/steeple")
    expect("sources without bytecode", inside(UNCOMPILED), "")
    expect("traces of the build's secrets", inside("ls /etc/pip.conf /run/secrets/* 2>/dev/null || true"), "")
    config = json.loads(engine.call("image", "inspect", IMAGE).stdout)[0]["Config"]
    expect("the entry point", config["Entrypoint"], ["steeple"])
    expect("the title", config["Labels"]["org.opencontainers.image.title"], "Steeple")

"""The examples as their READMEs have them run: under `steeple up`, asked over HTTP, from the root of the repository."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from steeple.embedded.processes import wait_until

_PATIENCE = 60.0


class _Program:
    """A program that runs from the root of the repository; what it says on stderr is kept in a file."""

    def __init__(self, name: str, *command: str, root: Path, folder: Path, **environment: str) -> None:
        self._said = folder / f"{name}.stderr"
        with self._said.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=root,
                env=os.environ | environment,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )

    def wait_said(self, pattern: str) -> str:
        """The first group of the first match."""
        matches: list[str] = []

        def is_said() -> bool:
            matches.extend(re.findall(pattern, self._said.read_text()))
            return bool(matches) or self.process.poll() is not None

        assert wait_until(is_said, _PATIENCE), self._said.read_text()
        assert matches, self._said.read_text()
        return matches[0]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(_PATIENCE)
        finally:
            self.process.kill()


Start = Callable[..., _Program]


@pytest.fixture
def start(root: Path, tmp_path: Path) -> Iterator[Start]:
    running: list[_Program] = []

    def start(name: str, *command: str, **environment: str) -> _Program:
        running.append(_Program(name, *command, root=root, folder=tmp_path, **environment))
        return running[-1]

    yield start
    for each in reversed(running):
        each.stop()


@pytest.fixture
def up(start: Start, tmp_path: Path) -> Callable[[str], _Program]:
    def up(app: str) -> _Program:
        folder = str(tmp_path / "data")
        return start("up", "steeple", "up", app, "--port", "0", "--slots", "2", "--data-dir", folder)

    return up


@contextmanager
def _http(program: _Program, pattern: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=program.wait_said(pattern), timeout=_PATIENCE, trust_env=False) as client:
        yield client


def _api(program: _Program) -> Any:
    return _http(program, r"try the API at (http://[^;]+)/docs")


def _run(api: httpx2.Client, task: str, args: dict[str, Any]) -> dict[str, Any]:
    reply = api.post("/v1/jobs", json={"task": task, "args": args}, headers={"Prefer": "wait=30"})
    assert reply.status_code == httpx2.codes.ACCEPTED, reply.text
    job: dict[str, Any] = reply.json()
    return job


@pytest.mark.timeout(240)
def test_thumbnails_of_a_folder(up: Callable[[str], _Program], root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(root / "examples/photos", folder, ignore=shutil.ignore_patterns("thumbnails-*"))
    (folder / "note.jpg").write_text("not a picture")

    with _api(up("examples.thumbnails:app")) as api:
        job = _run(api, "thumbnails.make", {"folder": str(folder)})
        assert (job["state"], job["attempt"]) == ("SUCCESS", 1), job["error"]
        assert (job["result"]["made"], job["result"]["up_to_date"]) == (5, 0)
        assert job["result"]["bad"] == [{"file": "note.jpg", "reason": "not an image"}]
        assert job["progress"] == {"fraction": 1.0, "text": "6 images, contact sheets: 1"}
        assert Path(job["result"]["contact_sheets"][0]).stat().st_size > 10_000
        logs = api.get(f"/v1/jobs/{job['id']}/logs").raise_for_status().text
        assert "image cannot be read" in logs

        again = _run(api, "thumbnails.make", {"folder": str(folder)})
        assert (again["result"]["made"], again["result"]["up_to_date"]) == (0, 5)

        nowhere = _run(api, "thumbnails.make", {"folder": str(tmp_path / "nowhere")})
        assert (nowhere["state"], nowhere["attempt"]) == ("FAILED", 1)
        assert nowhere["error"]["reason"] == "rejected"


@pytest.mark.timeout(240)
def test_orders_of_the_shop(up: Callable[[str], _Program], start: Start) -> None:
    everything = up("examples.shop:app")
    places = {
        name: everything.wait_said(f"export {name}='(.+)'") for name in ("STEEPLE_DATABASE_URL", "STEEPLE_BROKER_URL")
    }
    with _api(everything) as api:
        web = start("web", "uvicorn", "examples.shop:web", "--port", "0", **places)
        with _http(web, r"running on (http://[\d.:]+)") as shop:
            order = shop.post("/orders", json={"customer": "Ada", "item": "lamp"}).raise_for_status().json()
            refused = shop.post("/express-orders", json={"customer": "Bob", "item": "lamp", "quantity": 101})
            assert refused.status_code == httpx2.codes.UNPROCESSABLE_CONTENT

            job = api.get(f"/v1/jobs/{order['job_id']}", params={"wait": 30}).raise_for_status().json()
            assert (job["state"], job["tags"]) == ("SUCCESS", ["shop"]), job["error"]
            packed = shop.get(f"/orders/{order['id']}").raise_for_status().json()
            assert packed["packed_at"] is not None
            assert packed["job"] == "SUCCESS"
            assert [each["id"] for each in api.get("/v1/jobs").raise_for_status().json()["jobs"]] == [order["job_id"]]

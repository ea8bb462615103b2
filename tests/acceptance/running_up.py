"""``steeple up`` as a user starts it, and the API as a user reaches it."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import psutil

from steeple.embedded.processes import command_line, is_alive, wait_until

PATIENCE = 60.0
Job = dict[str, Any]


class Installation:
    """A running ``steeple up``. What it says on stderr is collected in a file."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.data_dir = folder / "data"
        self._said = folder / "stderr"
        with self._said.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "steeple", "up", *arguments, "--port", "0", "--data-dir", str(self.data_dir)],
                env=os.environ | environment,
                cwd=Path(__file__).parent,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        ready = self.process.stdout.readline().split()
        assert ready[:1] == ["ready"], self.said
        self.url = ready[1]
        self.api = httpx2.Client(base_url=self.url, timeout=75.0, trust_env=False)

    @property
    def said(self) -> str:
        return self._said.read_text()

    def submit(self, task: str, args: dict[str, Any] | None = None, **options: Any) -> Job:
        reply = self.api.post("/v1/jobs", json={"task": task, "args": args or {}, **options})
        assert reply.status_code == 202, reply.text
        job: Job = reply.json()
        return job

    def submit_batch(self, task: str, args: list[dict[str, Any]], **options: Any) -> list[str]:
        jobs = [{"task": task, "args": each, **options} for each in args]
        reply = self.api.post("/v1/jobs/batch", json={"jobs": jobs})
        assert reply.status_code == 202, reply.text
        return [item["id"] for item in reply.json()["jobs"]]

    def job(self, job_id: str, wait: float = 0) -> Job:
        """Asks again, as any client does, while the API says that it cannot just now."""
        replies: list[httpx2.Response] = []

        def is_answered() -> bool:
            replies.append(self.api.get(f"/v1/jobs/{job_id}", params={"wait": wait} if wait else {}))
            return replies[-1].status_code != httpx2.codes.SERVICE_UNAVAILABLE

        wait_until(is_answered, 30)
        reply = replies[-1]
        assert reply.status_code == 200, reply.text
        job: Job = reply.json()
        return job

    def ended(self, job_id: str) -> Job:
        """The job when it has ended, within a minute."""
        return self.job(job_id, wait=60)

    def succeeded(self, ids: list[str]) -> bool:
        """True once all of these have ended well, within a minute."""

        def are_done() -> bool:
            reply = self.api.get("/v1/jobs", params={"state": "SUCCESS", "limit": 1000})
            return reply.is_success and {job["id"] for job in reply.json()["jobs"]} >= set(ids)

        return wait_until(are_done, PATIENCE)

    def counts(self) -> dict[str, int]:
        """Of all queues, by state."""
        total: dict[str, int] = {}
        for queue in self.api.get("/v1/queues").json()["queues"]:
            for state, count in queue["counts"].items():
                total[state] = total.get(state, 0) + count
        return total

    def wait_drained(self) -> None:
        """Until no job is pending or running."""
        assert wait_until(lambda: not any(self.counts().get(state) for state in ("PENDING", "RUNNING")), PATIENCE), (
            self.counts(),
            self.said,
        )

    def family(self) -> list[int]:
        """The process ids of all that ``up`` started."""
        return [each.pid for each in psutil.Process(self.process.pid).children(recursive=True)]

    def find(self, what: str) -> int:
        """The id of the child process whose command line has these words."""
        (found,) = [each.pid for each in psutil.Process(self.process.pid).children() if what in command_line(each.pid)]
        return found

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """As Ctrl-C in a terminal: the signal goes to the whole process group."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, how)
        self.process.communicate(timeout=PATIENCE)
        self.api.close()
        return self.process.returncode

    def kill_everything(self) -> None:
        """kill -9 of the whole tree, at once."""
        family = [self.process.pid, *self.family()]
        for pid in family:
            with suppress(ProcessLookupError):  # PostgreSQL's own come and go
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()
        self.api.close()
        assert wait_until(lambda: not any(map(is_alive, family)), 10)

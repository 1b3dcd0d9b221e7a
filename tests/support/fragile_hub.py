"""A hub that can be broken."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from hub.dev.postgres import EmbeddedPostgres
from tests.support.hub import RunningHub


class FragileHub(RunningHub):
    """A hub whose processes can be killed and paused."""

    @property
    def postgres(self) -> EmbeddedPostgres:
        """Its database server, which it starts again by itself."""
        return EmbeddedPostgres(self.folder / "postgres")

    def kill(self) -> None:
        """Kills the supervisor alone, by SIGKILL."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def workers(self) -> list[psutil.Process]:
        """The living worker processes, the oldest first."""
        return workers_of(self.pid)

    def serving_workers(self) -> list[psutil.Process]:
        """Those of them that have the register in memory."""
        log = self.log()
        return [worker for worker in self.workers() if f"worker={worker.pid} serving: True" in log]

    @contextmanager
    def database_standing_still(self) -> Generator[None]:
        """All of PostgreSQL stopped by SIGSTOP for the time of the block."""
        postmaster = psutil.Process(int((self.folder / "postgres" / "postmaster.pid").read_text().split()[0]))
        # First, so that it starts no child after they were listed.
        postmaster.suspend()
        processes = [postmaster, *postmaster.children(recursive=True)]
        try:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    @contextmanager
    def database_stopped(self) -> Generator[Path]:
        """PostgreSQL stopped well for the time of the block, while workers live on; gives its data folder."""
        supervisor = psutil.Process(self.pid)
        supervisor.suspend()  # it would start it again
        try:
            self.postgres.stop()
            yield self.folder / "postgres"
            self.postgres.start()
        finally:
            supervisor.resume()

    def back_up(self) -> None:
        """Copies the database as it is, as an operator would who has no better way."""
        with self.database_stopped() as data:
            self._copy(data, self._backup)

    def restore(self) -> None:
        """Puts the database back to the state of the copy, under workers that know the newer one."""
        with self.database_stopped() as data:
            self._copy(self._backup, data)

    @property
    def _backup(self) -> Path:
        return self.folder / "backup"

    def _copy(self, source: Path, to: Path) -> None:
        subprocess.run(["rm", "-rf", to], check=True)
        subprocess.run(["cp", "-a", source, to], check=True)  # with owners, which Python does not copy


def workers_of(supervisor: int) -> list[psutil.Process]:
    """The living worker processes of a supervisor, the oldest first."""
    found: list[psutil.Process] = []
    for child in psutil.Process(supervisor).children():
        with suppress(psutil.Error):  # it ended meanwhile
            if "multiprocessing.forkserver" in " ".join(child.cmdline()):
                found += child.children()
    return sorted(found, key=psutil.Process.create_time)

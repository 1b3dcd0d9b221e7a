"""SQLite files of a node: for its owner's eyes only, durable, and with one process at a time at work on them."""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path


class FileBusy(Exception):
    """Another process is at work on the file."""


def connect(path: Path) -> sqlite3.Connection:
    """Opens a file that only its owner can read; what is committed is on the disk, also after a power cut.

    Raises:
        sqlite3.Error: it is no SQLite file, or is locked for longer than 10 s.
        OSError: it cannot be created or opened.
    """
    # Before SQLite does, whose mode would be that of the umask; its further files take over this one's.
    path.touch(mode=0o600)
    path.chmod(0o600)
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


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
            raise FileBusy from error
        yield

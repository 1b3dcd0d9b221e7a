"""SQLite files of a node: for its owner's eyes only, and durable."""

import sqlite3
from pathlib import Path


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

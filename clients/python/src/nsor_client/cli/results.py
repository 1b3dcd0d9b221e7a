"""Files of results: what became of each row of another file, written as it comes and continued after a cut."""

import csv
import os
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack
from io import StringIO
from pathlib import Path

from nsor_client import lock_file


class ResultFileError(Exception):
    """A file that cannot take the results. The message holds nothing of its content."""


class ResultFile:
    """A CSV file of results, a line for each row; what an earlier run wrote stays.

    Its first column is the number of the row. The last is the digest of the file that the rows are of, so that the
    results of another one cannot go on with it. It is for the eyes of its owner only, since results can name a person,
    and for one process at a time: beside it lies an empty file that is the lock.

    Attributes:
        earlier: the lines that were there, by column; one that an earlier run did not finish is taken out.

    Args:
        columns: their names, the last one that of the digest.
        digest: of the file that the rows are of.

    Raises:
        ResultFileError: the file is none of results, or that of another file; it is damaged, or being written.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path, columns: Sequence[str], digest: str) -> None:
        self._path = path
        self._columns = columns
        self._digest = digest
        with ExitStack() as opened:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            self._file = opened.enter_context(os.fdopen(descriptor, "r+", 1, encoding="utf-8", newline=""))
            try:
                opened.enter_context(lock_file.alone(path.with_name(path.name + ".writing")))
            except lock_file.FileBusy as error:
                raise ResultFileError(f"another process writes {path}: wait for its end") from error
            except sqlite3.Error as error:
                raise ResultFileError(f"{path}.writing, the lock of the file beside it, cannot be used") from error
            self._continue()
            self._open = opened.pop_all()

    def _continue(self) -> None:
        content, header = self._path.read_bytes(), (",".join(self._columns) + "\n").encode()
        if not (content.startswith(header) or header.startswith(content)):
            raise ResultFileError(f"{self._path} is something else: give a file that does not exist yet")
        whole = content[: content.rfind(b"\n") + 1]
        self.earlier = self._read(whole)
        self._path.chmod(0o600)  # it may have been there, or been copied, with another mode
        self._file.truncate(len(whole))
        self._file.seek(0, os.SEEK_END)
        if not whole:
            self._file.write(header.decode())

    def _read(self, whole: bytes) -> list[dict[str, str]]:
        try:
            _, *lines = csv.reader(StringIO(whole.decode() or "\n", newline=""), strict=True)
            rows = [dict(zip(self._columns, cells, strict=True)) for cells in lines]
        except (ValueError, csv.Error):
            raise self.damaged() from None
        if any(row[self._columns[-1]] != self._digest for row in rows):
            raise ResultFileError(f"{self._path} has the results of another {self._columns[-1]}: give another file")
        if not all(row[self._columns[0]].isdecimal() for row in rows):
            raise self.damaged()
        return rows

    def damaged(self) -> ResultFileError:
        """The error where earlier lines cannot be what a run wrote."""
        return ResultFileError(f"{self._path} is damaged: give a file that does not exist yet")

    def add(self, *cells: object) -> None:
        """Writes the result of a row, without the digest."""
        csv.writer(self._file, lineterminator="\n").writerow((*cells, self._digest))

    def close(self) -> None:
        """Closes the file, and lets others write it."""
        self._open.close()

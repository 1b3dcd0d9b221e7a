"""Files of results: what became of each row of another file, written as it comes and continued after a cut."""

import csv
import os
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path


class ResultFileError(Exception):
    """A file that cannot take the results. The message holds nothing of its content."""


class ResultFile:
    """A CSV file of results, a line for each row; what an earlier run wrote stays.

    Its last column is the digest of the file that the rows are of, so that the results of another one cannot go on
    with it.

    Attributes:
        earlier: the lines that were there, by column; one that an earlier run did not finish is taken out.

    Args:
        columns: their names, the last one that of the digest.
        digest: of the file that the rows are of.

    Raises:
        ResultFileError: the file is none of results, or that of another file.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path, columns: Sequence[str], digest: str) -> None:
        self._columns = columns
        self._digest = digest
        # For its owner only: results can name a person.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._file = open(descriptor, "r+", encoding="utf-8", newline="", buffering=1)  # noqa: SIM115, PTH123
        try:
            self._continue(path)
        except BaseException:
            self._file.close()
            raise

    def _continue(self, path: Path) -> None:
        content, header = path.read_bytes(), (",".join(self._columns) + "\n").encode()
        if not (content.startswith(header) or header.startswith(content)):
            raise ResultFileError(f"{path} is something else: give a file that does not exist yet")
        self._whole = content[: content.rfind(b"\n") + 1].decode()
        if any(row[self._columns[-1]] != self._digest for row in self.earlier()):
            raise ResultFileError(f"{path} has the results of another {self._columns[-1]}: give another file")
        self._file.truncate(len(self._whole.encode()))
        self._file.seek(0, os.SEEK_END)
        if not self._whole:
            self._file.write(header.decode())

    def earlier(self) -> Iterator[dict[str, str]]:
        """The results that an earlier run has written, but for a last line that it did not finish."""
        return csv.DictReader(StringIO(self._whole, newline=""))

    def add(self, *cells: object) -> None:
        """Writes the result of a row, without the digest."""
        csv.writer(self._file, lineterminator="\n").writerow((*cells, self._digest))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

"""CSV files of people, in which each row is one line."""

import csv


def cells(line: str) -> list[str]:
    """The cells of a line, read by itself; none of an empty one.

    A quote that is never closed would otherwise make one cell of all lines that follow, and the people in them would be
    neither asked about nor entered.

    Raises:
        csv.Error: its quotes are broken, or are closed in a later line; or a cell is longer than 131,072 characters.
    """
    [found] = csv.reader([line], strict=True)
    return found

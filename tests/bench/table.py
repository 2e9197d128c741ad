"""What a part of the benchmark found: a table for people, rows for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

MB = 1_000_000

Cell: TypeAlias = str | int | float
Row: TypeAlias = Mapping[str, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows that all have the same columns; `note` says how they were measured."""

    title: str
    note: str
    rows: Sequence[Row] = field(default_factory=tuple)

    def markdown(self) -> str:
        """Write the table as Markdown, which reads well at a terminal too."""
        cells = [list(row) for row in self.rows[:1]]
        cells += [[_shown(cell) for cell in row.values()] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        cells.insert(1, ["-" * width for width in widths])
        lines = [
            f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
            for line in cells
        ]
        return "\n".join([f"### {self.title}", "", *lines, "", self.note])


def _shown(cell: Cell) -> str:
    match cell:
        case float():
            return f"{cell:,.1f}" if cell >= 10 else f"{cell:.2f}"
        case int():
            return f"{cell:,}"
        case str():
            return cell

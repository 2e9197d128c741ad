"""Split a log into sections, and fit sections into its length."""

from __future__ import annotations

from collections.abc import Sequence

RULE = "-" * 40
HEAD = 2  # lines of a verdict's section that are about the whole build


def sections(log: str) -> list[str]:
    """Split a log into its sections, newest first; there is at least one."""
    return log.split(f"\n{RULE}\n")


def fit_files(blocks: Sequence[Sequence[str]], room: int) -> list[str]:
    """Return the lines of files that fit: first the first line of each file, then the others."""
    remaining = room - 60  # for the lines that count what was omitted
    kept: list[list[str]] = []
    for block in blocks:
        if len(block[0]) + 1 > remaining:
            break
        remaining -= len(block[0]) + 1
        kept.append([block[0]])
    omitted = 0
    for lines, block in zip(kept, blocks, strict=False):
        for line in block[1:]:
            if len(line) + 1 > remaining:
                omitted += 1
                continue
            remaining -= len(line) + 1
            lines.append(line)
    left_out = len(blocks) - len(kept)
    text = [line for lines in kept for line in lines]
    if left_out:
        text.append(f"... and {left_out} more files")
    if omitted:
        text.append(f"... and {omitted} more lines")
    return text


def fit(lines: Sequence[str], before: Sequence[str], limit: int) -> str:
    """Join a new section and as many older ones as fit, whole or only their heads."""
    text = "\n".join(lines)[:limit]
    for section in before:
        room = limit - len(text)
        fitting = [each for each in (section, head_of(section)) if len(with_rule(each)) <= room]
        if not fitting:
            break
        text += with_rule(fitting[0])
    return text


def with_rule(section: str) -> str:
    """Return a section after a separating rule."""
    return f"\n{RULE}\n{section}"


def head_of(section: str) -> str:
    """Return the lines of a verdict's section that are about the whole build."""
    return "\n".join(section.split("\n", HEAD)[:HEAD])

"""The text of a log as a list of sections, and what of them fits into its length."""

from __future__ import annotations

from collections.abc import Sequence

RULE = "-" * 40
HEAD = 2  # lines of a verdict's section before those of its files


def sections(log: str) -> list[str]:
    """Split a log into its sections, newest first; there is always one."""
    return log.split(f"\n{RULE}\n")


def fit_files(blocks: Sequence[Sequence[str]], room: int) -> list[str]:
    """Keep as many files' lines as fit: first every file's own line, then the lines below it."""
    spare = room - 60  # for the line that says what was left out
    kept: list[list[str]] = []
    for block in blocks:
        if len(block[0]) + 1 > spare:
            break
        spare -= len(block[0]) + 1
        kept.append([block[0]])
    omitted = 0
    for lines, block in zip(kept, blocks, strict=False):
        for line in block[1:]:
            if len(line) + 1 > spare:
                omitted += 1
                continue
            spare -= len(line) + 1
            lines.append(line)
    left_out = len(blocks) - len(kept)
    text = [line for lines in kept for line in lines]
    if left_out:
        text.append(f"... and {left_out} more files")
    if omitted:
        text.append(f"... and {omitted} more lines")
    return text


def fit(lines: Sequence[str], before: Sequence[str], limit: int) -> str:
    """Join a new section with as many of the older ones as fit, whole or at least their heads."""
    text = "\n".join(lines)[:limit]
    for section in before:
        room = limit - len(text)
        fitting = [each for each in (section, head_of(section)) if len(separated(each)) <= room]
        if not fitting:
            break
        text += separated(fitting[0])
    return text


def separated(section: str) -> str:
    """Return a section with the rule before it."""
    return f"\n{RULE}\n{section}"


def head_of(section: str) -> str:
    """Return the lines of a verdict that are about the whole build."""
    return "\n".join(section.split("\n", HEAD)[:HEAD])

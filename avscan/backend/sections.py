"""The layout of a log: its sections, and what of them fits into its length."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

RULE = "-" * 40
_RESERVED = 4  # older verdicts may use a fourth of a log, if the newest verdict fills it
_HEAD = 2  # lines of a verdict's section that are about the whole build
_COUNT = 30  # characters of the line that counts omitted lines


def sections(log: str) -> list[str]:
    """Split a log into its sections, newest first; there is at least one."""
    return log.split(f"\n{RULE}\n")


def fit(head: Sequence[str], details: Sequence[str], before: Sequence[str], limit: int) -> str:
    """Join a new section and as many older ones as fit, whole or only their first lines.

    Of the new section's `details`, indented lines are omitted first.
    """
    whole = [f"\n{RULE}\n{section}" for section in before]
    short = ["\n".join(section.split("\n")[: 2 + _HEAD]) for section in whole]
    reserved = min(len("".join(short)), limit // _RESERVED)
    room = limit - len("\n".join(head)) - reserved
    text = "\n".join([*head, *_fitting(details, room)])[:limit]
    for forms in zip(whole, short, strict=True):
        fitting = [form for form in forms if len(text) + len(form) <= limit]
        if not fitting:
            break
        text += fitting[0]
    return text


def _fitting(lines: Sequence[str], room: int) -> list[str]:
    """Return the lines that fit, in their order, and the number of the others."""
    indented_last = sorted(range(len(lines)), key=lambda number: lines[number].startswith(" "))
    ends = accumulate(len(lines[number]) + 1 for number in indented_last)
    kept = {number for number, end in zip(indented_last, ends, strict=True) if end + _COUNT <= room}
    fitting = [line for number, line in enumerate(lines) if number in kept]
    omitted = len(lines) - len(fitting)
    return [*fitting, f"... and {omitted} more line{'s' * (omitted > 1)}"] if omitted else fitting

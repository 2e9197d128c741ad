"""What 7-Zip packs, and what clamscan can't unpack of it. The samples hold a line of text each."""

from __future__ import annotations

import base64
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avscan.archives import sevenzip
from avscan.archives.sevenzip import MAGIC, unsupported

LZMA = base64.b64decode(
    "N3q8ryccAAQW0nRHaAAAAAAAAAAgAAAAAAAAAG3OyW4ANBlJ7o3pT34hYe6h/DYEnNIAAAAAgTMHrg/PObAMB8hD"
    "gIOBW/+sd2U/BagUTtiqXAyaiWVPYOSwvFok4ObaLeUu8+7vjyCSYLoMhgfh5UZ2JJGrmkC1L69K4IJvnnU9v957"
    "AAAAABcGFAEJVAAHCwEAASMDAQEFXQAQAAAMXgoBY7IFbAAA"
)
DEFLATE = base64.b64decode(
    "N3q8ryccAASD43QCbwAAAAAAAAAgAAAAAAAAAERjv8pNxLEJAAAMArDdK/qc4CAIpf/T1QwR7UyNnLh4AACBMweu"
    "D8/Hr2gP6+qJf+TLbLCZsJFxAEcjlKt/hlYmFx3DJMi8HYK3bpym+zvaAXNQ0L0dmAdnMw2lHL64mgTdepQcLCTG"
    "5Pr9E6h1JrAAAAAXBhwBCVMABwsBAAEjAwEBBV0AEAAADF4KAVvdUxgAAA=="
)
BZIP2 = base64.b64decode(  # 40 members
    "N3q8ryccAAT61PTNlAEAAAAAAAAiAAAAAAAAAMRLthhCWmg5MUFZJlNZTeDqPAAAFkgAABB/4CAASMHk9R/qkGkf"
    "6qAMqvr1N8Y2fgIKA0kkHMu7ryosXlQutKgQAAIPi7kinChIJvB1HgAAAIEzB64P0oDrvUDAkM7ly3b2T7lrOSTs"
    "FSPHdawR2dd2HuO7ljZ9PwS97p47b43ez0BrhYOvkL6gKqDSKOaoxRnBqwnY58TQBy5gZ5Arbwm+SzAXEentv3hK"
    "kIkKTDr5RrZAw4l7Xeelv6my/RXQ0l4a/JRUOb2I3dVFDmHnQUD7qgPKaAN5p4tVD88o+vC8mskLO0mFMlkUV+rq"
    "s/dVFaYUA8YOn4RJUKQ9dOdtBwjZtEEg8q750vg+a4Xt2GCd7DzMTpP2xDf25vfre9icDXjsZoy8NFZg6mZanhQd"
    "93idotm6bOM6ITFkYeubaKrXF54lvBgw+nrBoWg3wYqz+4noBWZyvxyUvXJWiZiMM6MBKFWEX6FL9F7L8f/wFo8f"
    "Y7+L+GT5FX7R62kBM5iN+tqVaCW/dTVRC4xzeF0iXxgsWBUE0AAAABcGSwEJgUkABwsBAAEjAwEBBV0AEAAADIQS"
    "CgFbwrjQAAA="
)
ARM64 = base64.b64decode(  # its header is not packed
    "N3q8ryccAASVGJyOFAAAAAAAAABSAAAAAAAAAKgMNS7gABEADF0ANBlJ7o3pT34hIbAAAAEEBgABCRQABwsBAAIh"
    "IQEAAQoBAAwSEgAICgE7fIrfAAAFARkHAAAAAAAAABEHAGgAaQAAABkEAAAAABQKAQDppFzmt3vdARUGAQAggKSB"
    "AAA="
)
ENCRYPTED = base64.b64decode(  # its header too
    "N3q8ryccAAQBd7sBkAAAAAAAAAA7AAAAAAAAAMrIrY9JI1S5uUJKvS9C0is50UOwUTBUAHuu4l7dQbSQOv0qoG6O"
    "G/K/POQmU68FATQR9EVc5iZPIybS1vdpylUFuZy8x1Cu8AUH9aKlPFcxCNWuDRMjWIP3BL7+CIzGgZ4uwOkPdUbv"
    "3M0VHsstyGSwJhpanQdF+63HhvVTWGsrEPZGGaeA0k4mVNYI1pEYECj2cSAXBiABCXAABwsBAAIkBvEHARJTD2Pw"
    "Lif2B2hvs6w930vVqdYjAwEBBV0AEAAAAQAMb34KAes1KhsAAA=="
)
EMPTY = MAGIC + bytes(26)
UNREADABLE = "7z with a header that can't be read"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (LZMA, ""),
        (ENCRYPTED, ""),  # clamscan says so itself
        (EMPTY, ""),
        (DEFLATE, "7z deflate"),
        (BZIP2, "7z bzip2"),
        (ARM64, "7z ARM64"),
        (LZMA[:-1], UNREADABLE),
        (MAGIC, UNREADABLE),
        (LZMA[:32], UNREADABLE),
    ],
)
def test_what_is_unsupported(data: bytes, said: str) -> None:
    assert unsupported(io.BytesIO(data)) == said


def test_a_block_that_clamscan_passes_over_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sevenzip, "SOLID", 1)
    assert unsupported(io.BytesIO(LZMA)).startswith("7z with a block of ")
    assert not unsupported(io.BytesIO(EMPTY))


def test_what_clamscan_takes_for_a_disk_is_named() -> None:
    disk = EMPTY.ljust(512, b"\0") + b"EFI PART"
    assert unsupported(io.BytesIO(disk)) == "7z that looks like a disk"


@given(st.sampled_from([LZMA, DEFLATE, BZIP2, ARM64, ENCRYPTED]), st.data())
def test_a_damaged_header_does_no_harm(packed: bytes, data: st.DataObject) -> None:
    damaged = bytearray(packed)
    for at in data.draw(st.lists(st.integers(6, len(damaged) - 1), min_size=1, max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    assert unsupported(io.BytesIO(bytes(damaged))).isprintable()

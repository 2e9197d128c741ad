"""PocketBase: HTTP and the record API, what waits, every write to a check, and downloads.

`discovery` finds what there is to do, `ledger` writes it down, `fetch` brings the files.
"""

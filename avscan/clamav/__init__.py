"""ClamAV: one warm clamscan and its output, the signatures and their refresh.

`clamscan` runs the program, `transcript` parses its output, `signatures` checks that there are any.
"""

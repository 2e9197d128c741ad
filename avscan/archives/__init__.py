"""The formats of archives, and the walk over an artifact that opens them member by member.

`unpack` has the walk, `reader` the interface of a format, `registry` the list of all formats.
"""

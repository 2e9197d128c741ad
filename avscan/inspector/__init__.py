"""The half that parses artifacts: a confined child process without credentials and network.

`process` is the pass's side of it, `child` the inspector's own, `protocol` the lines between them.
"""

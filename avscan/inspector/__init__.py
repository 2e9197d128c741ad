"""The inspector, a confined child process without credentials and network that parses artifacts.

`process` is the pass's side of it, `child` the inspector's own, `protocol` the lines between them.
"""

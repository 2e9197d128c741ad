"""The entry point of `avscan` and `python -m avscan`."""

import signal

# Ctrl-C during the imports ends the process without a traceback. `boundary` installs the real
# handlers. An ignored signal stays ignored.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from avscan.cli import main

if __name__ == "__main__":
    main()

"""The program: `avscan` and `python -m avscan` start here."""

import signal

# Until `boundary` handles signals there is nothing to end in order: Ctrl-C ends the imports without
# a traceback. What is ignored stays so.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from avscan.cli import main

if __name__ == "__main__":
    main()

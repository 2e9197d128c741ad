"""`python -m avscan` is `avscan`."""

from avscan.cli import main

if __name__ == "__main__":
    main()

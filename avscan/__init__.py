"""avscan scans every build that is uploaded to Zapuskalka before players download it."""

__version__ = "0.1.0"

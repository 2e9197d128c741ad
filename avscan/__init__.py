"""avscan scans builds uploaded to Zapuskalka for malware before players download them."""

__version__ = "0.1.0"

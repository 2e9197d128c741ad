"""What talks to ClamAV: clamscan under watch, what it says, its signatures."""

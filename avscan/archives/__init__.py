"""What clamscan can't be trusted to unpack, opened member by member."""

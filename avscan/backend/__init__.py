"""What talks to PocketBase: the client, the questions, the writes, the files."""

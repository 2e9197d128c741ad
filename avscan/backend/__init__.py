"""Access to PocketBase: the client, the schema, queries, writes of checks, and downloads."""

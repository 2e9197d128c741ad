"""Operation: status reports, metrics, notifications, terminal output and health checks."""

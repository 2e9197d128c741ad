"""What operators see: the service levels, metrics, the webhook, a terminal, health."""

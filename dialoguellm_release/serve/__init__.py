"""Models behind OpenAI-compatible servers: one client, one store of answers, limits on what is spent."""

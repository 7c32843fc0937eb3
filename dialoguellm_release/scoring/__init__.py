"""From an adapter and records to a score folder."""

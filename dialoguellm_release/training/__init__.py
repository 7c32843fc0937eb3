"""From a backbone and records to an adapter folder."""

"""From clips to descriptions that can be audited: frames, describers, ledger."""

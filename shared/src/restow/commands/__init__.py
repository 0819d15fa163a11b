"""The `restow` command: its own sub-commands, and those that installed services bring."""

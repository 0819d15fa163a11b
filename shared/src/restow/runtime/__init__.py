"""What every service runs on: settings, logs, metrics, traces, health, start and stop."""

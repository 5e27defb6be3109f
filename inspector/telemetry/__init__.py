"""What can be watched of a running line: metrics for Prometheus, the service manager's watchdog."""

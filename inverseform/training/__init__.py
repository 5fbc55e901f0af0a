"""One loop for both networks: optimiser and schedule, checkpoints that resume exactly."""

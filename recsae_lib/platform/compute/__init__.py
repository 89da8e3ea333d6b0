"""What computes: devices, compiled loops, states of unfinished trainings, signals to stop."""

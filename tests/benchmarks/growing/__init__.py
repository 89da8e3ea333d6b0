"""What `make bench ONLY=growth` stands on: its world, its models, and what it reads of processes and event logs."""

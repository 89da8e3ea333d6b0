"""How well the description of a unit predicts, on held-out users, where it fires."""

"""Public data sets: where they are, how they get here."""

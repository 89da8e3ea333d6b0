"""Tables: their declarations, reading and writing them, the checks that guard publication."""

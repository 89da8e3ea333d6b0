"""What a recommender has learned, as tables: sparse autoencoders on user representations."""

import os

__version__ = "0.2.0"

# Torch's threads wait for each other by spinning, unless this variable is set before torch is loaded. Where cores are
# shared with a JVM or with neighbours, a spinning thread holds back the one it waits for: measured, 7 times slower on
# two busy cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

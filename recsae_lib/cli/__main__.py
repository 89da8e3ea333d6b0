"""`python -m recsae_lib.cli`: the same as the command `recsae`."""

from recsae_lib.cli.main import main

main()

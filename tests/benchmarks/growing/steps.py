"""What the growth benchmark does between jobs, a process for each: `python -m tests.benchmarks.growing.steps STEP`.

It runs in the folder of a world, under the settings of its jobs.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import date
from pathlib import Path

from recsae_lib.config import load_settings
from recsae_lib.config.shipped import shipped
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.tables.declaration import STAMPS
from recsae_lib.representations.layout import RepresentationSet
from tests.benchmarks.growing.models import register_recommender, register_sae
from tests.benchmarks.growing.world import Size, write_world

SEED = 11
JOB_OF = {  # whose work a step does
    "world": "ingest_dataset",
    "recommender": "train_recommender",
    "sae": "train_sae",
    "second_night": "train_sae",
}
COPIED = (tables.LATENT_ACTIVATIONS, tables.CONCEPT_TERMS, tables.CONCEPT_LABELS)  # what compare_versions reads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=JOB_OF)
    parser.add_argument("--conf", type=Path, required=True)
    parser.add_argument("--dt", type=date.fromisoformat, required=True)
    parser.add_argument("--after", type=date.fromisoformat, help="night that the second one repeats")
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--items", type=int, required=True)
    given = parser.parse_args()
    settings = load_settings(shipped("base.yaml"), given.conf, [])
    context = JobContext(JOB_OF[given.step], settings, given.dt)
    if given.step == "world":
        write_world(context.spark, Path("data"), Size(given.users, given.items))
    elif given.step == "recommender":
        register_recommender(context, given.items)
    elif given.step == "sae":
        register_sae(context, training_rows(context), SEED)
    else:
        repeat_night(context, given.after, given.items)


def training_rows(context: JobContext) -> str:
    return RepresentationSet.of_context(context, "training").require()


def repeat_night(context: JobContext, first: date, items: int) -> None:
    """Write the published rows of the first night once more, as those of another SAE of another recommender.

    `compare_versions` then has to compare activations user by user, the way that grows with users.
    """
    rows = training_rows(replace(context, dt=first))
    context = replace(context)  # which has resolved no version yet
    register_recommender(context, items, scale=1.01)
    register_sae(context, rows, SEED + 1)
    of_first = context.warehouse.at(first).published()
    for table in COPIED:
        context.warehouse.replace(table, of_first.read(context.warehouse, table).drop(*STAMPS))


if __name__ == "__main__":
    main()

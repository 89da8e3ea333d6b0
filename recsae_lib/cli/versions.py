"""`recsae versions` and `recsae promote`: the versions of the sparse autoencoder."""

from __future__ import annotations

import argparse
from typing import Any

from recsae_lib.cli.parsing import add_site, command
from recsae_lib.cli.terminal import of_audit, print_table
from recsae_lib.errors import InputError
from recsae_lib.platform.job.arguments import context_of
from recsae_lib.printable import say


def add_to(commands: Any) -> None:
    """Add both commands."""
    command(commands, "versions", "list SAE versions with aliases and metrics", _versions)
    promote = command(commands, "promote", "make an SAE version the champion, e.g. to roll back", _promote)
    promote.add_argument("version", metavar="VERSION", help="a number, or an alias: previous undoes the last promotion")
    promote.add_argument("--force", action="store_true", help="also a version that no published audit has used")
    promote.epilog = (
        "The version that was champion becomes previous. What was published stays as it is: every row names its "
        "version. Nights with sae.version=champion use the promoted one from then on."
    )
    add_site(promote)


def _versions(arguments: argparse.Namespace) -> None:
    from recsae_lib.platform.tracking.registry import PUBLISHED_TAG

    context = context_of(arguments, "versions")
    names = ("fvu", "l0", "dead_fraction", "ndcg_at_10_kept")
    versions = context.registry.versions(context.sae_name)
    rows = [
        [
            version.number,
            " ".join(version.aliases),
            version.tags.get("dt", ""),
            f"{context.recommender_name} {version.tags.get('model_version', '')}",
            version.tags.get("parent_version", ""),
            " ".join(version.tags.get(tag, "") for tag in ("audit_status", "audit_dt")).strip(),
            *(f"{version.metrics[name]:.4f}" if name in version.metrics else "" for name in names),
        ]
        for version in versions
    ]
    champion = next((version for version in versions if "champion" in version.aliases), None)
    namespace = context.namespaces["audit"]
    published = "" if champion is None else champion.tags.get(PUBLISHED_TAG, "")
    readers_see = (
        of_audit(namespace, published, champion.number) if champion and published else f"{namespace}, none published"
    )
    print_table(
        [*("version", "alias", "trained for", "recommender", "parent", "audit"), "FVU", "L0", "dead", "NDCG@10 kept"],
        iter(rows),
        f"Versions of the SAE of {readers_see} (champion)",
    )


def _promote(arguments: argparse.Namespace) -> None:
    from recsae_lib.platform.tracking.registry import PUBLISHED_TAG

    context = context_of(arguments, "promote").at_site(arguments.site)
    registry, name = context.registry, context.sae_name
    version = registry.resolve(name, int(arguments.version) if arguments.version.isdecimal() else arguments.version)
    if PUBLISHED_TAG not in registry.tags(name, version) and not arguments.force:
        raise InputError(
            f"No published audit has used version {version} of {name}",
            "Audit and publish it (sae.version), or promote it unseen with --force",
        )
    before = registry.promote(name, version)
    say(f"{name}: champion is version {version} (before: {before or 'none'})")
    if context.settings.sae.version == "candidate" and registry.version_with(name, "candidate") != version:
        say("sae.version is candidate: nights go on with what train_sae made last; set sae.version: champion")

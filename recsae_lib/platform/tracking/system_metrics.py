"""What the machine does during a run, as MLflow measures it: processors, memory, disk, network, GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor


@contextmanager
def measured_system(client: MlflowClient, run_id: str) -> Iterator[None]:
    """Log metrics ``system/…`` of a run every ten seconds, from a thread, while the block runs.

    MLflow's own variables MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING (``false`` switches it off) and
    MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL (seconds) hold. What cannot be measured or logged ends no training.
    """
    if MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.is_set() and not MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get():
        yield
        return
    monitor = SystemMetricsMonitor(run_id, tracking_uri=client.tracking_uri)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()

"""The tests of the folder in_airflow run in Airflow's own environment; test_in_airflow.py starts them."""

from __future__ import annotations

collect_ignore = ["in_airflow"]

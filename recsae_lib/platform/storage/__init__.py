"""Files, objects in S3, leases, locks, reports."""

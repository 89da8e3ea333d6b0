"""What runs several jobs: an audit, a study of audits."""

"""What the DAGs share. A package of our name: a site's plugins shadow bare names such as `common`."""

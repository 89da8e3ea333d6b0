"""What is kept outside of tables: files, locks, reports, control data in S3 (`object_store`), bulk data (`bulk`)."""

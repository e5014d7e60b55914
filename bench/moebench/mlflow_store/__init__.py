"""MLflow as an index to browse: written from the records, by one process at a time; never read back."""

"""Finding variants and backends: entry points and files, without importing one until it is used."""

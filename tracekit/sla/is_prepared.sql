-- A row where the relations of these questions are there.
SELECT 1 FROM duckdb_tables() WHERE temporary AND table_name = 'sla_failed'

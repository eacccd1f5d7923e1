-- The distinct models of `usage`: one price lookup each. Absent names are empty texts, as in
-- cost.sql.
SELECT DISTINCT
    coalesce(CAST(provider AS VARCHAR), '') AS provider,
    coalesce(CAST(request_model AS VARCHAR), '') AS request_model,
    coalesce(CAST(response_model AS VARCHAR), '') AS response_model
FROM usage;

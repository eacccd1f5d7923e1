-- One file of exported traces in one line.
SELECT
    count(*) AS sessions,
    CAST(sum(spans) AS BIGINT) AS spans,
    CAST(sum(llm_calls) AS BIGINT) AS llm_calls,
    CAST(sum(tool_calls) AS BIGINT) AS tool_calls,
    CAST(sum(input_tokens) AS BIGINT) AS input_tokens,
    CAST(sum(output_tokens) AS BIGINT) AS output_tokens,
    string_agg(DISTINCT stop_raw, ' ' ORDER BY stop_raw) AS stop_values,
    string_agg(DISTINCT stop_reason, ' ' ORDER BY stop_reason) AS stop_codes,
    (SELECT string_agg(DISTINCT dialect, ' ' ORDER BY dialect) FROM spans) AS dialects
FROM sessions

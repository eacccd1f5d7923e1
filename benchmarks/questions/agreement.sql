-- What the lake says about one run, for comparison with the recording itself.
SELECT
    count(*) AS sessions,
    count(*) FILTER (WHERE outcome = 'success') AS successes,
    coalesce(sum(input_tokens) + sum(output_tokens), 0) AS tokens,
    sum(cost_usd) AS cost_usd,
    count(*) FILTER (WHERE stop_framework_raw IN ('agent_error', 'max_steps', 'too_many_errors'))
        AS abnormal,
    count(*) FILTER (
        WHERE stop_framework_raw IN ('agent_error', 'max_steps', 'too_many_errors')
            AND stop_outcome = 'failure'
    ) AS abnormal_with_failure_code
FROM sessions

-- The tasks of one session, in order of time.
SELECT task_id, task_name, outcome, outcome_source, stop_reason, duration_s, cost_usd, unpriced_calls
FROM tasks
WHERE session_id = {session_id}
ORDER BY start_ns, task_id

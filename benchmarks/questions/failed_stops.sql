-- What the stop alone says of tasks that failed, by system.
SELECT
    service_name AS system,
    outcome_inferred AS said_by_the_stop,
    inferred_stop_reason AS stop,
    count(*) AS failures,
    count(*) FILTER (WHERE outcome_declared = 'success') AS said_by_the_agent
FROM tasks
WHERE outcome_source = 'verified' AND outcome = 'failure'
    AND session_id IN (SELECT session_id FROM spans WHERE eval_name <> 'reward')
GROUP BY 1, 2, 3
ORDER BY system, failures DESC, stop

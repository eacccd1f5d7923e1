-- What the stop alone says of a task, against its label.
SELECT
    outcome_inferred AS said_by_the_stop,
    inferred_stop_reason AS stop,
    count(*) AS tasks,
    count(*) FILTER (WHERE outcome = 'success') AS successes,
    count(*) FILTER (WHERE outcome = 'failure') AS failures
FROM tasks
WHERE outcome_source = 'verified' AND outcome <> 'undetermined'
GROUP BY 1, 2
ORDER BY tasks DESC, 1, 2

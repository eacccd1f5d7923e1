-- Task success by agent and model, as the labels say.
SELECT
    coalesce(agent_name, '-') AS agent,
    coalesce(model, 'not recorded') AS model,
    count(*) AS tasks,
    count(*) FILTER (WHERE outcome_source = 'verified' AND outcome = 'success') AS successes,
    count(*) FILTER (WHERE outcome_source = 'verified' AND outcome = 'failure') AS failures
FROM tasks
GROUP BY 1, 2
ORDER BY tasks DESC, 1, 2

-- Selected tasks whose session stands for others that the sampler dropped.
SELECT count(*) AS tasks
FROM tasks
WHERE {where}
    AND session_id IN (SELECT session_id FROM sessions WHERE weight IS DISTINCT FROM 1)

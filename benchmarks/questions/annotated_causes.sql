-- The root cause that annotators named, and the stop that the spans alone give.
SELECT
    t.service_name AS system,
    lower(a.eval_label) AS cause,
    t.inferred_stop_reason AS stop,
    count(*) AS failures
FROM spans AS a
JOIN tasks AS t ON a.session_id = t.session_id
WHERE a.eval_name = 'agentrx.root_cause'
GROUP BY 1, 2, 3
ORDER BY system DESC, sum(count(*)) OVER (PARTITION BY t.service_name, lower(a.eval_label)) DESC,
    cause, failures DESC, stop

-- Sessions that two sets annotated: whether they name the same agent, and the same message.
SELECT
    count(*) AS "annotated twice",
    count(*) FILTER (WHERE lower(a.agent_name) = lower(w.agent_name)) AS "the same agent",
    count(*) FILTER (WHERE a.step_index = w.step_index) AS "the same message"
FROM spans AS a
JOIN spans AS w ON a.session_id = w.session_id
WHERE a.eval_name = 'agentrx.root_cause' AND w.eval_name = 'who_and_when.mistake'

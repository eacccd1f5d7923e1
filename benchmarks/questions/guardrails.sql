-- Whether a stop by a content filter and the annotators' "guardrails triggered" are the same sessions.
WITH sessions AS (
    SELECT
        t.session_id,
        bool_or(t.inferred_stop_reason = 'policy.content_filtered') AS filtered,
        bool_or(lower(a.eval_label) = 'guardrails triggered') AS guarded
    FROM tasks AS t
    JOIN spans AS a ON t.session_id = a.session_id
    WHERE a.eval_name IN ('agentrx.failure', 'agentrx.root_cause')
    GROUP BY 1
)
SELECT
    count(*) AS "annotated",
    count(*) FILTER (WHERE guarded) AS "guardrails triggered, somewhere",
    count(*) FILTER (WHERE filtered) AS "stop policy.content_filtered",
    count(*) FILTER (WHERE guarded AND filtered) AS "both"
FROM sessions

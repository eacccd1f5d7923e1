-- The ledger as rows of the lake, with the date of their part.
-- Reads  tasks, sessions, outcomes, lake_places; known (derived verdicts that the lake
--        held for these sessions), new_labels, standing_decisions, standing_detections. Names in
--        braces stand for column lists.
-- Makes  new_tasks, new_sessions, new_outcomes, new_detections.

CREATE TEMP VIEW new_tasks AS
SELECT d.date, {tasks}, n.tasks = 1 AS lake_only_task
FROM tasks AS t
JOIN lake_places AS d ON t.session_id = d.session_id
JOIN (SELECT session_id, count(*) AS tasks FROM tasks GROUP BY session_id) AS n
    ON t.session_id = n.session_id;

CREATE TEMP VIEW new_sessions AS
SELECT d.date, {sessions}, {carried}, d.lake_trace_ids
FROM sessions AS t
JOIN lake_places AS d ON t.session_id = d.session_id
LEFT JOIN standing_decisions AS c ON t.session_id = c.session_id;

CREATE TEMP VIEW new_detections AS
SELECT d.date, {detections}
FROM standing_detections AS t
JOIN lake_places AS d ON t.session_id = d.session_id;

-- A verdict that is derived again was learned when it was first derived.
CREATE TEMP TABLE new_outcomes AS
SELECT
    d.date, t.session_id, t.task_id, t.outcome, t.evidence, t.source, t.score, t.decided_ns,
    coalesce(min(k.recorded_ns), min(t.recorded_ns)) AS recorded_ns,
    true AS lake_from_spans
FROM outcomes AS t
JOIN lake_places AS d ON t.session_id = d.session_id
LEFT JOIN known AS k
    ON t.session_id = k.session_id
    AND t.task_id IS NOT DISTINCT FROM k.task_id
    AND t.outcome = k.outcome
    AND t.evidence = k.evidence
    AND t.source IS NOT DISTINCT FROM k.source
    AND t.score IS NOT DISTINCT FROM k.score
    AND t.decided_ns IS NOT DISTINCT FROM k.decided_ns
GROUP BY
    d.date, t.session_id, t.task_id, t.outcome, t.evidence, t.source, t.score, t.decided_ns
UNION ALL
SELECT * FROM new_labels;

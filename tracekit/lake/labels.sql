-- Verdicts recorded by themselves. Their session may not be here yet: their date is their own.
-- Reads  labels.
-- Makes  new_labels.

CREATE TEMP VIEW new_labels AS
SELECT
    strftime(make_timestamp(coalesce(decided_ns, recorded_ns) // 1000), '%Y-%m-%d') AS date,
    session_id, task_id, outcome, evidence, source, score, decided_ns, recorded_ns,
    false AS lake_from_spans
FROM labels;

-- Where the rows of each session go: its date is that of its first span.
-- Reads  ledger_spans.
-- Makes  lake_places: session_id, date, lake_trace_ids (every trace of the session).

CREATE OR REPLACE TEMP TABLE lake_places AS
WITH dates AS (
    SELECT
        session_id,
        strftime(make_timestamp(coalesce(min(start_ns), 0) // 1000), '%Y-%m-%d') AS date
    FROM ledger_spans
    GROUP BY session_id
),
traces AS (
    SELECT session_id, list(trace_id) AS lake_trace_ids
    FROM (SELECT DISTINCT session_id, trace_id FROM ledger_spans)
    GROUP BY session_id
)
SELECT d.session_id, d.date, t.lake_trace_ids
FROM dates AS d
JOIN traces AS t ON d.session_id = t.session_id;

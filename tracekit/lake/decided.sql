-- What was decided about the sessions of a batch, and what the detectors found when it was. Spans tell neither: a session
-- that is derived again keeps both.
-- Reads  decided, detected (of this batch); stored_sessions, stored_detections (of the touched sessions). Names in braces
--        stand for column lists.
-- Makes  standing_decisions, standing_detections.

-- Of several decisions the one that kept the session stands: its spans are here. One that nobody remembers, for late spans,
-- is none against one on record.
CREATE TEMP TABLE standing_decisions AS
SELECT session_id, {columns}
FROM (
    SELECT session_id, {columns} FROM decided
    UNION ALL
    -- Sessions without either were imported: what is to be said of them is in their spans.
    SELECT session_id, {columns} FROM stored_sessions WHERE NOT kept OR policy IS NOT NULL
)
QUALIFY row_number() OVER (
    PARTITION BY session_id ORDER BY kept DESC, policy IS NULL, coalesce(overruled_ns, decided_ns) DESC NULLS LAST
) = 1;

CREATE TEMP TABLE standing_detections AS
SELECT {detections}
FROM detected
QUALIFY row_number() OVER (PARTITION BY session_id, detector ORDER BY verdict, reason) = 1
UNION ALL
SELECT {detections}
FROM stored_detections
WHERE session_id NOT IN (SELECT session_id FROM detected);

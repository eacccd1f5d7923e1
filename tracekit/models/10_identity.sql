-- Which spans there are, and whose: duplicates dropped, session and task keys spread.
-- Reads  numbered (scanned, with a number per row).
-- Makes  received (view: the spans that stay), keyed (view: with session_id), row_tasks.

-- A span received twice (a retried export, an import repeated in one batch) counts once: the copy
-- that ended later knows more, since some exporters send a span at its start and again at its end.
CREATE OR REPLACE TEMP TABLE dropped AS
-- Span ids are random: few are in two traces, and one column groups faster than two.
WITH repeated AS (
    SELECT span_id FROM numbered GROUP BY span_id HAVING count(*) > 1
)
SELECT n.row_id
FROM numbered AS n
JOIN repeated AS r ON r.span_id = n.span_id
QUALIFY row_number() OVER (
    PARTITION BY n.trace_id, n.span_id ORDER BY n.end_ns DESC NULLS LAST, n.row_id
) > 1;

CREATE OR REPLACE TEMP VIEW received AS
SELECT * FROM numbered AS n
WHERE NOT EXISTS (SELECT 1 FROM dropped AS d WHERE d.row_id = n.row_id);

-- Most instrumentations write the session key on some spans only. The root's key speaks for its
-- trace; of several others the smallest, so that the answer does not depend on arrival order.
-- Logfire scrubs whatever has "session" in its name: its note is the same everywhere and no key.
CREATE OR REPLACE TEMP TABLE trace_sessions AS
WITH own AS (
    SELECT
        trace_id,
        parent_span_id,
        CASE
            WHEN session_key <> '' AND NOT starts_with(session_key, '[Scrubbed due to')
                THEN session_key
        END AS session_key
    FROM received
)
SELECT
    trace_id,
    coalesce(
        min(session_key) FILTER (WHERE parent_span_id IS NULL), min(session_key)
    ) AS session_key
FROM own
GROUP BY trace_id;

CREATE OR REPLACE TEMP VIEW keyed AS
SELECT
    r.*,
    CASE
        WHEN r.session_key <> '' AND NOT starts_with(r.session_key, '[Scrubbed due to')
            THEN r.session_key
        ELSE coalesce(t.session_key, r.trace_id)
    END AS session_id,
    CASE
        WHEN r.session_key <> '' AND NOT starts_with(r.session_key, '[Scrubbed due to')
            THEN 'attribute'
        WHEN t.session_key IS NOT NULL THEN 'trace'
        ELSE 'trace_id'
    END AS session_source
FROM received AS r
JOIN trace_sessions AS t ON r.trace_id = t.trace_id;

-- Where a session declares at most one task, all of the session is that task.
CREATE OR REPLACE TEMP TABLE session_tasks AS
SELECT session_id, min(task_id) AS task_id, min(task_id) <> max(task_id) AS is_several
FROM keyed
WHERE task_id <> ''
GROUP BY session_id;

-- Where it declares several, a span without a task belongs to the innermost span of its trace that
-- carries one and contains it in time. Of spans that contain it the innermost started last (one
-- without an end is still open). What no task contains gets no row here: it stays with the session.
CREATE OR REPLACE TEMP TABLE row_tasks AS
WITH several AS (
    SELECT k.row_id, k.trace_id, k.span_id, k.start_ns, k.end_ns, k.task_id
    FROM keyed AS k
    JOIN session_tasks AS s ON k.session_id = s.session_id
    WHERE s.is_several
),
carriers AS (
    SELECT trace_id, span_id, task_id, start_ns, end_ns FROM several WHERE task_id <> ''
)
SELECT row_id, task_id FROM several WHERE task_id <> ''
UNION ALL
SELECT s.row_id, arg_max(c.task_id, row(c.start_ns, c.span_id)) AS task_id
FROM several AS s
JOIN carriers AS c
    ON s.trace_id = c.trace_id
    AND c.start_ns <= s.start_ns
    AND (c.end_ns IS NULL OR c.end_ns >= coalesce(s.end_ns, s.start_ns))
WHERE coalesce(s.task_id, '') = ''
GROUP BY s.row_id;

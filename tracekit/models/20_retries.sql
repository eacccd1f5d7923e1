-- Retries: which model calls failed, and which retry which.
-- Reads  steps, numbered, calls, uncounted; error_values, http_values, stop_codes.
-- Makes  failures (calls that failed), retries (calls of logical calls with several attempts).

-- Why a call failed, as a stop code: what the error says, else the HTTP status, else the stop value.
-- An answer that was cut short by its own limit, or refused, did not fail as an attempt.
CREATE OR REPLACE TEMP TABLE failures AS
WITH error_names AS (
    SELECT lower(raw) AS name, min(code) AS code FROM error_values GROUP BY lower(raw)
),
judged AS (
    SELECT
        c.row_id,
        r.http_status,
        r.stream_complete,
        lower(r.error_type) AS error_name,
        -- openai.RateLimitError is RateLimitError.
        lower(regexp_replace(r.error_type, '^.*[.]', '')) AS class_name,
        CASE WHEN s.category = 'provider' OR s.code = 'truncated.stream_cut'
            THEN s.code END AS stop_code
    FROM calls AS c
    JOIN numbered AS r ON r.row_id = c.row_id
    LEFT JOIN stop_codes AS s ON s.code = c.stop_class
    WHERE r.status = 'error'
        OR r.http_status >= 400
        OR r.stream_complete = FALSE
        OR s.category = 'provider'
        OR s.code = 'truncated.stream_cut'
        -- error.type is set only where an operation ended in an error, also where nobody set the
        -- span status. Beside an answer it tells of an error that was caught and retried inside.
        OR (
            r.status = 'unset'
            AND r.error_type IS NOT NULL
            AND coalesce(c.stop_class, '') NOT IN ('clean', 'tool_call')
        )
)
SELECT
    j.row_id,
    coalesce(
        e.code,
        b.code,
        h.code,
        n.code,
        j.stop_code,
        CASE WHEN j.stream_complete = FALSE THEN 'truncated.stream_cut' END,
        'unknown.no_evidence'
    ) AS failure_class
FROM judged AS j
LEFT JOIN error_names AS e ON e.name = j.error_name
LEFT JOIN error_names AS b ON b.name = j.class_name
LEFT JOIN http_values AS h ON h.status = j.http_status
-- Where the answer was an HTTP error, the conventions make its status the error type.
LEFT JOIN http_values AS n ON CAST(n.status AS VARCHAR) = j.error_name;

-- Steps of the sessions in which a call failed or says that it is a retry: nobody else retried.
CREATE OR REPLACE TEMP TABLE neighbours AS
WITH declared AS (
    SELECT row_id FROM numbered WHERE attempt > 1 OR retry_of IS NOT NULL
),
suspects AS (
    SELECT c.session_id FROM calls AS c JOIN failures AS f ON f.row_id = c.row_id
    UNION
    SELECT c.session_id FROM calls AS c JOIN declared AS d ON d.row_id = c.row_id
)
SELECT
    n.row_id,
    n.session_id,
    n.operation IN ('llm', 'embeddings', 'rerank') AS is_call,
    lag(n.row_id) OVER (
        PARTITION BY n.session_id, n.parent_span_id ORDER BY n.start_ns, n.span_id
    ) AS previous
FROM steps AS n
JOIN suspects AS s ON s.session_id = n.session_id
WHERE n.operation NOT IN ('other', 'unknown', 'event', 'fetch_response')
    AND NOT EXISTS (SELECT 1 FROM uncounted AS u WHERE u.row_id = n.row_id);

-- Two calls under one parent with nothing between them, of which the first one failed or the second
-- one has a number: each in a row of its own, with what the decision below compares.
CREATE OR REPLACE TEMP TABLE consecutive AS
WITH numbered_calls AS (
    SELECT row_id FROM numbered WHERE attempt > 1
),
pairs AS (
    SELECT n.row_id, n.previous
    FROM neighbours AS n
    JOIN neighbours AS p ON p.row_id = n.previous
    LEFT JOIN failures AS f ON f.row_id = n.previous
    LEFT JOIN numbered_calls AS d ON d.row_id = n.row_id
    WHERE n.is_call AND p.is_call AND (f.row_id IS NOT NULL OR d.row_id IS NOT NULL)
),
members AS (
    SELECT row_id FROM pairs
    UNION
    SELECT previous FROM pairs
)
SELECT
    n.row_id, q.previous, n.start_ns, n.end_ns, n.provider, r.request_model, r.attempt, r.retry_of,
    f.row_id IS NOT NULL AS is_failed
FROM members AS m
JOIN steps AS n ON n.row_id = m.row_id
JOIN numbered AS r ON r.row_id = m.row_id
LEFT JOIN pairs AS q ON q.row_id = m.row_id
LEFT JOIN failures AS f ON f.row_id = m.row_id;

-- Which call retries which: declared by `retry_of`, by the attempt number, or inferred.
CREATE OR REPLACE TEMP TABLE retry_edges AS
WITH retried AS (
    SELECT c.row_id, c.session_id, c.start_ns, c.span_id, r.retry_of
    FROM calls AS c
    JOIN numbered AS r ON r.row_id = c.row_id
    WHERE r.retry_of IS NOT NULL
),
-- A span id need not be unique among the traces of a session: the latest such span counts.
spans_named AS (
    SELECT r.row_id, c.row_id AS previous
    FROM retried AS r
    JOIN calls AS c ON c.session_id = r.session_id AND c.span_id = r.retry_of
    WHERE c.row_id <> r.row_id
    QUALIFY row_number() OVER (PARTITION BY r.row_id ORDER BY c.start_ns DESC, c.trace_id) = 1
),
-- `retry_of` may also be a logical call id of the application: its calls follow one another.
calls_named AS (
    SELECT
        r.row_id,
        lag(r.row_id) OVER (
            PARTITION BY r.session_id, r.retry_of ORDER BY r.start_ns, r.span_id
        ) AS previous
    FROM retried AS r
    WHERE NOT EXISTS (SELECT 1 FROM spans_named AS s WHERE s.row_id = r.row_id)
)
SELECT row_id, previous FROM spans_named
UNION ALL
SELECT row_id, previous FROM calls_named WHERE previous IS NOT NULL
UNION ALL
-- Without a declaration the second of them retries the first if that failed and it asks the same
-- model of the same provider within ten minutes. A call that started before the other one had ended
-- runs beside it.
SELECT n.row_id, n.previous
FROM consecutive AS n
JOIN consecutive AS p ON p.row_id = n.previous
WHERE n.retry_of IS NULL
    AND (
        n.attempt = coalesce(p.attempt, 1) + 1
        OR (
            n.attempt IS NULL
            AND p.is_failed
            AND n.provider IS NOT DISTINCT FROM p.provider
            AND n.request_model IS NOT DISTINCT FROM p.request_model
            AND n.start_ns - p.end_ns BETWEEN 0 AND 600000000000
        )
    );

-- Follow the edges from each first attempt. Declared edges that form a circle have no first one and
-- are left alone.
CREATE OR REPLACE TEMP TABLE retries AS
WITH RECURSIVE chains AS (
    SELECT DISTINCT e.previous AS row_id, e.previous AS first_row_id
    FROM retry_edges AS e
    WHERE NOT EXISTS (SELECT 1 FROM retry_edges AS b WHERE b.row_id = e.previous)
    UNION ALL
    SELECT e.row_id, c.first_row_id
    FROM chains AS c
    JOIN retry_edges AS e ON e.previous = c.row_id
)
SELECT
    c.row_id,
    first_value(n.span_id) OVER attempts_in_order AS call_id,
    coalesce(r.attempt, row_number() OVER attempts_in_order) AS attempt,
    lead(c.row_id) OVER attempts_in_order IS NULL AS is_final
FROM chains AS c
JOIN calls AS n ON n.row_id = c.row_id
JOIN numbered AS r ON r.row_id = c.row_id
WINDOW attempts_in_order AS (PARTITION BY c.first_row_id ORDER BY n.start_ns, n.span_id);

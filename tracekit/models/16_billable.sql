-- Which model calls count: each real call once, whatever number of spans tells of it.
-- Reads  steps, normalised, numbered.
-- Makes  uncounted (model-call spans that do not count), calls (view: those that do), usage (what
--        the price book needs of them).
--
-- Only llm, embeddings and rerank spans can count. Agent and workflow spans repeat their children's
-- usage, the outer span of Vercel's SDK is an agent here (dialects.md 2d.4), and `fetch_response`
-- fetches what was billed before (2d.5). A call without usage still counts as a call: its cost is
-- null for the reason no_usage.

CREATE OR REPLACE TEMP VIEW model_calls AS
SELECT
    row_id, trace_id, span_id, parent_span_id, session_id, task_id, start_ns, end_ns, operation,
    stop_class, input_tokens, output_tokens,
    input_tokens IS NOT NULL OR output_tokens IS NOT NULL AS has_usage
FROM steps
WHERE operation IN ('llm', 'embeddings', 'rerank');

-- Model calls under model calls: two instrumentations on one call, or a gateway's client.
CREATE OR REPLACE TEMP TABLE nestings AS
WITH parents AS (
    SELECT trace_id, parent_span_id, bool_or(has_usage) AS is_child_used
    FROM model_calls
    WHERE parent_span_id IS NOT NULL
    GROUP BY trace_id, parent_span_id
)
SELECT m.row_id, m.trace_id, m.span_id, m.has_usage, p.is_child_used
FROM model_calls AS m
JOIN parents AS p ON p.trace_id = m.trace_id AND p.parent_span_id = m.span_id;

CREATE OR REPLACE TEMP TABLE uncounted AS
-- The outer span is a wrapper, as attempts are told apart only inside it: it does not count unless
-- it is the only one that knows the usage.
SELECT row_id FROM nestings WHERE is_child_used OR NOT has_usage
UNION
-- In that case what is inside does not count.
SELECT m.row_id
FROM model_calls AS m
JOIN nestings AS n ON n.trace_id = m.trace_id AND n.span_id = m.parent_span_id
WHERE n.has_usage AND NOT n.is_child_used;

-- One response seen by several spans of a session counts once: on a span with usage, of those on
-- the innermost (which took the shortest time), of those on the earliest. Some APIs give one id to
-- several answers (the run of an assistant): spans that do not overlap in time and tell of
-- different usage are different calls.
INSERT INTO uncounted
WITH candidates AS (
    SELECT
        m.row_id, m.session_id, r.response_id, m.has_usage, m.input_tokens, m.output_tokens,
        m.start_ns, m.end_ns, m.span_id
    FROM model_calls AS m
    JOIN numbered AS r ON r.row_id = m.row_id
    WHERE lower(trim(r.response_id)) NOT IN ('', 'null', 'none', 'undefined')
        AND NOT EXISTS (SELECT 1 FROM uncounted AS u WHERE u.row_id = m.row_id)
),
repeated AS (
    SELECT session_id, response_id FROM candidates GROUP BY session_id, response_id HAVING count(*) > 1
),
timed AS (
    SELECT
        c.*,
        max(c.end_ns) OVER (
            PARTITION BY c.session_id, c.response_id ORDER BY c.start_ns, c.span_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS busy_until_ns
    FROM candidates AS c
    JOIN repeated AS r ON r.session_id = c.session_id AND r.response_id = c.response_id
),
-- Spans that overlap, directly or through others, share a `moment`.
placed AS (
    SELECT
        *,
        sum(CASE WHEN start_ns < busy_until_ns THEN 0 ELSE 1 END) OVER (
            PARTITION BY session_id, response_id ORDER BY start_ns, span_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS moment
    FROM timed
),
innermost AS (
    SELECT *
    FROM placed
    QUALIFY row_number() OVER (
        PARTITION BY session_id, response_id, moment
        ORDER BY
            CASE WHEN has_usage THEN 0 ELSE 1 END, end_ns - start_ns NULLS LAST, start_ns, span_id
    ) = 1
),
counted AS (
    SELECT row_id
    FROM innermost
    QUALIFY row_number() OVER (
        PARTITION BY session_id, response_id, input_tokens, output_tokens
        ORDER BY start_ns, span_id
    ) = 1
    AND (
        has_usage
        OR count(*) FILTER (WHERE has_usage) OVER (PARTITION BY session_id, response_id) = 0
    )
)
SELECT p.row_id FROM placed AS p
WHERE NOT EXISTS (SELECT 1 FROM counted AS c WHERE c.row_id = p.row_id);

-- Two instrumentations side by side on one call, of which one writes no response id and is not
-- current while the call is made (Langfuse's client, callbacks of frameworks): the span of another
-- scope that encloses a call of the same usage tells of that call.
INSERT INTO uncounted
WITH candidates AS (
    SELECT
        m.row_id, m.session_id, r.scope_name, m.input_tokens, m.output_tokens, m.start_ns, m.end_ns
    FROM model_calls AS m
    JOIN numbered AS r ON r.row_id = m.row_id
    WHERE m.input_tokens > 0
        AND m.output_tokens > 0
        AND NOT EXISTS (SELECT 1 FROM uncounted AS u WHERE u.row_id = m.row_id)
),
mixed AS (
    SELECT session_id FROM candidates GROUP BY session_id HAVING min(scope_name) <> max(scope_name)
),
rivals AS (
    SELECT c.* FROM candidates AS c JOIN mixed AS m ON m.session_id = c.session_id
)
SELECT DISTINCT outside.row_id
FROM rivals AS outside
JOIN rivals AS inside
    ON inside.session_id = outside.session_id
    AND inside.input_tokens = outside.input_tokens
    AND inside.output_tokens = outside.output_tokens
WHERE inside.scope_name <> outside.scope_name
    AND outside.start_ns <= inside.start_ns
    AND inside.end_ns <= outside.end_ns
    AND inside.end_ns - inside.start_ns < outside.end_ns - outside.start_ns;

CREATE OR REPLACE TEMP VIEW calls AS
SELECT * FROM model_calls AS m -- narrow: join `normalised` for more
WHERE NOT EXISTS (SELECT 1 FROM uncounted AS u WHERE u.row_id = m.row_id);

CREATE OR REPLACE TEMP TABLE usage AS
SELECT
    n.row_id,
    n.provider,
    n.request_model,
    n.response_model,
    n.start_ns,
    n.service_tier,
    n.service_tier_requested,
    n.input_tokens,
    n.uncached_tokens,
    n.cache_read_tokens,
    n.cache_write_tokens,
    CASE WHEN n.usage_cache_write_1h >= 0 THEN n.usage_cache_write_1h END AS cache_write_1h_tokens,
    n.output_tokens,
    n.reasoning_tokens,
    n.cost_reported
FROM normalised AS n
WHERE n.operation IN ('llm', 'embeddings', 'rerank')
    AND NOT EXISTS (SELECT 1 FROM uncounted AS u WHERE u.row_id = n.row_id);

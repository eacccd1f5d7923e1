-- The token arithmetic, and the narrow table of everything derived from a span alone.
-- Reads  spelled, row_tasks, session_tasks, vocabulary, exclusive_input, limits.
-- Makes  steps (a row per span), normalised (view: all that is known so far).

-- Counts are made canonical: `input_tokens` holds every input token, cached ones included, and
-- `output_tokens` every output token, reasoning included (OpenTelemetry's meaning since 1.37).
-- Whether a source counts the cache inside its input differs (dialects.md 2d.1). It is beside it if
--   excess      cache > input: more was read from the cache than was put in, which cannot be
--   declared    the dialect is known to write it so (Claude Code: input 2, cache read 84,562)
--   uncached    the source states the uncached part beside its input, and both are the same
--   total       the stated total comes out only with the cache added: `repaired`
-- Reasoning is beside the output if reasoning > output, or if only that makes the total come out
-- (Gemini's candidates exclude thoughts): `repaired` too. A total that fits no reading repairs
-- nothing. A negative count is no count, nor is one above
-- `largest_count`: no context is that long, and sums of such counts leave 64 bits.
CREATE OR REPLACE TEMP TABLE steps AS
WITH stated AS (
    SELECT
        k.row_id,
        k.trace_id,
        k.span_id,
        k.parent_span_id,
        k.start_ns,
        k.end_ns,
        k.session_id,
        k.session_source,
        coalesce(w.task_id, CASE WHEN NOT s.is_several THEN s.task_id END) AS task_id,
        v.dialect,
        v.operation,
        v.provider,
        v.stop_class,
        v.stop_normalised,
        e.dialect IS NOT NULL AS is_declared,
        CASE WHEN k.usage_total BETWEEN 0 AND c.largest_count THEN k.usage_total END AS total,
        CASE WHEN k.usage_uncached BETWEEN 0 AND c.largest_count
            THEN k.usage_uncached END AS uncached,
        CASE WHEN k.usage_input BETWEEN 0 AND c.largest_count THEN k.usage_input END AS input,
        CASE WHEN k.usage_output BETWEEN 0 AND c.largest_count THEN k.usage_output END AS output,
        CASE WHEN k.usage_cache_read BETWEEN 0 AND c.largest_count
            THEN k.usage_cache_read END AS cache_read,
        -- One-hour writes are part of the writes; some sources state only them.
        CASE
            WHEN k.usage_cache_write BETWEEN coalesce(k.usage_cache_write_1h, 0) AND c.largest_count
                THEN k.usage_cache_write
            WHEN k.usage_cache_write_1h BETWEEN 0 AND c.largest_count THEN k.usage_cache_write_1h
        END AS cache_write,
        CASE WHEN k.usage_reasoning BETWEEN 0 AND c.largest_count
            THEN k.usage_reasoning END AS reasoning
    FROM spelled AS k
    CROSS JOIN limits AS c
    JOIN vocabulary AS v
        ON v.dialect_mark IS NOT DISTINCT FROM k.dialect_mark
        AND v.scope_name IS NOT DISTINCT FROM k.scope_name
        AND v.name IS NOT DISTINCT FROM k.name
        AND v.operation_raw IS NOT DISTINCT FROM k.operation_raw
        AND v.operation_kind_raw IS NOT DISTINCT FROM k.operation_kind_raw
        AND v.provider_raw IS NOT DISTINCT FROM k.provider_raw
        AND v.stop_raw IS NOT DISTINCT FROM k.stop_raw
        AND v.gateway IS NOT DISTINCT FROM k.gateway
        AND v.is_answer = k.is_answer
        AND v.is_tool = k.is_tool
        AND v.is_genai = k.is_genai
    LEFT JOIN exclusive_input AS e ON e.dialect = v.dialect
    LEFT JOIN session_tasks AS s ON s.session_id = k.session_id
    LEFT JOIN row_tasks AS w ON w.row_id = k.row_id
),
counted AS (
    SELECT
        *,
        coalesce(cache_read, 0) + coalesce(cache_write, 0) AS cache,
        coalesce(reasoning, 0) AS thought,
        -- What the total has beyond input and output; null without a total.
        total - coalesce(input, 0) - coalesce(output, 0) AS excess
    FROM stated
),
judged AS (
    SELECT
        *,
        input IS NOT NULL AND cache > 0 AND (
            cache > input OR is_declared OR coalesce(uncached = input, FALSE)
        ) AS is_cache_beside,
        input IS NOT NULL AND cache > 0
            AND coalesce(excess IN (cache, cache + thought), FALSE) AS is_cache_missing,
        thought > coalesce(output, 0) AS is_thought_beside,
        thought > 0 AND coalesce(excess IN (thought, cache + thought), FALSE) AS is_thought_missing
    FROM counted
),
canonical AS (
    SELECT
        *,
        CASE
            WHEN input IS NULL THEN uncached + cache
            WHEN is_cache_beside OR is_cache_missing THEN input + cache
            ELSE input
        END AS input_tokens,
        CASE
            WHEN is_thought_beside OR is_thought_missing THEN coalesce(output, 0) + thought
            ELSE output
        END AS output_tokens
    FROM judged
)
SELECT
    row_id,
    trace_id,
    span_id,
    parent_span_id,
    start_ns,
    end_ns,
    session_id,
    session_source,
    coalesce(task_id, session_id) AS task_id,
    dialect,
    operation,
    provider,
    stop_class,
    stop_normalised,
    input_tokens,
    input_tokens - cache AS uncached_tokens,
    cache_read AS cache_read_tokens,
    cache_write AS cache_write_tokens,
    output_tokens,
    reasoning AS reasoning_tokens,
    CASE
        WHEN input_tokens IS NULL AND output_tokens IS NULL THEN NULL
        WHEN is_cache_beside THEN 'exclusive'
        WHEN is_cache_missing OR is_thought_missing THEN 'repaired'
        WHEN cache > 0 AND input IS NOT NULL THEN 'inclusive'
        ELSE 'none'
    END AS usage_check
FROM canonical;

-- Two spans on one call of a tool: two instrumentations, or a framework's span around a decorated
-- function. The inner one tells of the call, what is around it is a step: a span of the same tool
-- that is the parent (within one instrumentation also with the same arguments: tools may call
-- themselves), or encloses a span of another instrumentation (callbacks of frameworks have parents
-- of their own).
CREATE OR REPLACE TEMP TABLE retold_tools AS
WITH tools AS (
    SELECT
        s.row_id, s.session_id, s.trace_id, s.span_id, s.parent_span_id, s.start_ns, s.end_ns,
        r.scope_name, r.tool_args_hash,
        coalesce(
            r.tool_name,
            r.entity_name,
            CASE WHEN starts_with(r.name, 'execute_tool ') THEN substr(r.name, 14) ELSE r.name END
        ) AS tool_name
    FROM steps AS s
    JOIN numbered AS r ON r.row_id = s.row_id
    WHERE s.operation = 'tool'
),
mixed AS (
    SELECT session_id FROM tools GROUP BY session_id HAVING min(scope_name) <> max(scope_name)
),
rivals AS (
    SELECT t.* FROM tools AS t JOIN mixed AS m ON m.session_id = t.session_id
)
SELECT outside.row_id
FROM tools AS outside
JOIN tools AS inside
    ON inside.trace_id = outside.trace_id
    AND inside.parent_span_id = outside.span_id
    AND inside.tool_name = outside.tool_name
WHERE inside.scope_name <> outside.scope_name
    OR inside.tool_args_hash = outside.tool_args_hash
UNION
SELECT outside.row_id
FROM rivals AS outside
JOIN rivals AS inside
    ON inside.session_id = outside.session_id
    AND inside.tool_name = outside.tool_name
WHERE inside.scope_name <> outside.scope_name
    AND outside.start_ns <= inside.start_ns
    AND inside.end_ns <= outside.end_ns
    AND inside.end_ns - inside.start_ns < outside.end_ns - outside.start_ns;

-- The scanned span with its canonical columns in place of the raw ones. `entity_name` is the name of
-- what the operation says. The span name is the last resort where conventions put the name there:
-- OpenTelemetry behind the operation, the observability vendors (dialects.md 2a) alone. Dialects
-- without keys for tools write their arguments and result as any input and output.
CREATE OR REPLACE TEMP VIEW normalised AS
SELECT
    -- What both sides know is read from `numbered`, which is streamed: `steps` is hashed, and every
    -- text it brings is copied.
    s.* EXCLUDE (trace_id, span_id, parent_span_id, start_ns, end_ns, operation),
    CASE WHEN t.row_id IS NULL THEN s.operation ELSE 'step' END AS operation,
    r.* EXCLUDE (
        row_id, agent_name, tool_name, task_id, task_name, tool_args_hash, tool_result_hash
    ),
    r.agent_name AS scanned_agent_name,
    r.tool_name AS scanned_tool_name,
    r.task_id AS scanned_task_id,
    r.task_name AS scanned_task_name,
    CASE WHEN r.end_ns >= r.start_ns THEN (r.end_ns - r.start_ns) / 1e9 END AS duration_s,
    coalesce(r.response_model, r.request_model) AS model,
    CASE WHEN s.operation = 'agent' THEN coalesce(
        r.agent_name,
        r.entity_name,
        CASE
            WHEN starts_with(r.name, 'invoke_agent ') THEN substr(r.name, 14)
            WHEN v.dialect IS NOT NULL THEN r.name
        END
    ) ELSE r.agent_name END AS agent_name,
    CASE WHEN s.operation = 'tool' THEN coalesce(
        r.tool_name,
        r.entity_name,
        CASE
            WHEN starts_with(r.name, 'execute_tool ') THEN substr(r.name, 14)
            WHEN v.dialect IS NOT NULL THEN r.name
        END
    ) ELSE r.tool_name END AS tool_name,
    CASE WHEN s.operation = 'task' THEN coalesce(r.task_name, r.entity_name)
        ELSE r.task_name END AS task_name,
    CASE WHEN s.operation = 'tool' THEN coalesce(r.tool_args_hash, r.input_hash)
        ELSE r.tool_args_hash END AS tool_args_hash,
    CASE WHEN s.operation = 'tool' THEN coalesce(r.tool_result_hash, r.output_hash)
        ELSE r.tool_result_hash END AS tool_result_hash
FROM steps AS s
JOIN numbered AS r ON s.row_id = r.row_id
LEFT JOIN named_by_span AS v ON v.dialect = s.dialect
LEFT JOIN retold_tools AS t ON t.row_id = s.row_id;

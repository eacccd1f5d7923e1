-- One vocabulary for all dialects: dialect, operation, provider and the class of the stop value.
-- Reads  keyed; value_map, name_prefixes, scope_names, normalisers, stop_values.
-- Makes  spelled (view: keyed with flags), vocabulary: one row per distinct spelling. A million
--        spans share a few hundred spellings, so every lookup below runs on those.

-- The flags are the evidence used where a span names no operation.
CREATE OR REPLACE TEMP VIEW spelled AS
SELECT
    *,
    coalesce(response_model, request_model) IS NOT NULL
        AND (stop_raw IS NOT NULL OR response_id IS NOT NULL) AS is_answer,
    tool_name IS NOT NULL OR tool_call_id IS NOT NULL AS is_tool,
    coalesce(
        provider_raw, request_model, response_model, operation_raw, operation_kind_raw, dialect_mark,
        tool_name, agent_name, workflow_name, task_name, stop_raw, stop_framework_raw, done_status,
        task_status, task_id
    ) IS NOT NULL
        OR usage_input IS NOT NULL OR usage_output IS NOT NULL AS is_genai
FROM keyed;

CREATE OR REPLACE TEMP TABLE spellings AS
SELECT row_number() OVER () AS spelling_id, s.*
FROM (
    SELECT
        dialect_mark, scope_name, name, operation_raw, operation_kind_raw, provider_raw, stop_raw,
        gateway, is_answer, is_tool, is_genai
    FROM spelled
    GROUP BY
        dialect_mark, scope_name, name, operation_raw, operation_kind_raw, provider_raw, stop_raw,
        gateway, is_answer, is_tool, is_genai
) AS s;

-- A fingerprint attribute beats the span name, and the name beats the scope: a vendor's key and the
-- names it gives are its own doing, while a scope may carry spans that imitate another dialect.
-- On a span without any GenAI attribute only a dotted prefix counts (`claude_code.`): "chat history"
-- is anybody's name.
CREATE OR REPLACE TEMP TABLE spelling_dialects AS
SELECT
    s.spelling_id,
    coalesce(
        any_value(s.dialect_mark),
        arg_max(p.dialect, length(p.prefix)),
        arg_max(o.dialect, length(o.prefix)),
        'none'
    ) AS dialect,
    arg_max(p.operation, length(p.prefix)) FILTER (WHERE p.operation IS NOT NULL) AS name_operation
FROM spellings AS s
LEFT JOIN name_prefixes AS p
    ON starts_with(s.name, p.prefix) AND (s.is_genai OR strpos(p.prefix, '.') > 0)
LEFT JOIN scope_names AS o ON starts_with(s.scope_name, o.prefix)
GROUP BY s.spelling_id;

-- What a raw word means: in its dialect, else anywhere.
CREATE OR REPLACE TEMP TABLE meanings AS
WITH raw_words AS (
    SELECT spelling_id, 'operation' AS column_name, operation_raw AS word FROM spellings
    UNION ALL
    SELECT spelling_id, 'operation', operation_kind_raw FROM spellings
    UNION ALL
    SELECT spelling_id, 'provider', provider_raw FROM spellings
),
words AS (
    SELECT DISTINCT w.column_name, d.dialect, w.word
    FROM raw_words AS w
    JOIN spelling_dialects AS d ON w.spelling_id = d.spelling_id
    WHERE w.word IS NOT NULL
)
SELECT w.column_name, w.dialect, w.word, coalesce(own.canonical, common.canonical) AS meaning
FROM words AS w
LEFT JOIN value_map AS own
    ON own.column_name = w.column_name AND own.dialect = w.dialect AND own.raw = lower(w.word)
LEFT JOIN value_map AS common
    ON common.column_name = w.column_name AND common.dialect = '*' AND common.raw = lower(w.word);

-- The operation: what the source says, else the second opinion, else the span name, else the
-- evidence of the attributes, where any of them belongs to a dialect: `model`, `tool_name` and the
-- like, which Claude Code writes, are anybody's words. A word nobody knows stays `unknown` (dialects.md 2d.6 lists the kinds
-- outside the enum that are known); a span without any GenAI sign is `other`.
CREATE OR REPLACE TEMP TABLE spelling_meanings AS
SELECT
    s.spelling_id,
    d.dialect,
    coalesce(
        nullif(first.meaning, 'unknown'),
        nullif(second.meaning, 'unknown'),
        d.name_operation,
        CASE
            WHEN d.dialect = 'none' THEN 'other'
            WHEN s.operation_raw IS NOT NULL OR s.operation_kind_raw IS NOT NULL THEN 'unknown'
            WHEN s.is_answer THEN 'llm'
            WHEN s.is_tool THEN 'tool'
            WHEN s.is_genai THEN 'unknown'
            ELSE 'other'
        END
    ) AS operation,
    coalesce(p.meaning, lower(s.provider_raw)) AS provider
FROM spellings AS s
JOIN spelling_dialects AS d ON s.spelling_id = d.spelling_id
LEFT JOIN meanings AS first
    ON first.column_name = 'operation' AND first.dialect = d.dialect AND first.word = s.operation_raw
LEFT JOIN meanings AS second
    ON second.column_name = 'operation' AND second.dialect = d.dialect
    AND second.word = s.operation_kind_raw
LEFT JOIN meanings AS p
    ON p.column_name = 'provider' AND p.dialect = d.dialect AND p.word = s.provider_raw;

-- Several stop values are joined with a comma. The first one counts, unless a later one says more
-- than a clean end or a tool call: a choice that was cut must not hide behind one that was not.
-- Among equals the earliest counts. The provider's own meaning of a value beats the common one.
CREATE OR REPLACE TEMP TABLE stop_meanings AS
WITH stops AS (
    SELECT DISTINCT m.provider, s.stop_raw, ',' || lower(s.stop_raw) || ',' AS listed
    FROM spellings AS s
    JOIN spelling_meanings AS m ON s.spelling_id = m.spelling_id
    WHERE s.stop_raw IS NOT NULL
),
found AS (
    SELECT s.provider, s.stop_raw, v.class, strpos(s.listed, ',' || v.raw || ',') AS place
    FROM stops AS s
    JOIN (SELECT provider, lower(raw) AS raw, class FROM stop_values) AS v
        ON strpos(s.listed, ',' || v.raw || ',') > 0
        AND (v.provider = s.provider OR v.provider = '*')
    QUALIFY row_number() OVER (
        PARTITION BY s.provider, s.stop_raw, v.raw
        ORDER BY CASE WHEN v.provider = '*' THEN 1 ELSE 0 END, v.class
    ) = 1
)
SELECT provider, stop_raw, class AS stop_class
FROM found
QUALIFY row_number() OVER (
    PARTITION BY provider, stop_raw
    ORDER BY CASE WHEN class IN ('clean', 'tool_call') THEN 1 ELSE 0 END, place
) = 1;

-- Layers known to rewrite stop values (dialects.md 2d.3): a dialect, a scope, or the gateway that
-- speaks the dialect.
CREATE OR REPLACE TEMP TABLE vocabulary AS
SELECT
    s.*,
    m.dialect,
    m.operation,
    m.provider,
    t.stop_class,
    CASE WHEN s.stop_raw IS NOT NULL THEN EXISTS (
        SELECT 1 FROM normalisers AS n
        WHERE (n.scope_name IS NULL AND n.dialect = m.dialect)
            OR starts_with(s.scope_name, n.scope_name)
            OR n.gateway = lower(s.gateway)
    ) END AS stop_normalised
FROM spellings AS s
JOIN spelling_meanings AS m ON s.spelling_id = m.spelling_id
LEFT JOIN stop_meanings AS t
    ON t.stop_raw = s.stop_raw AND t.provider IS NOT DISTINCT FROM m.provider;

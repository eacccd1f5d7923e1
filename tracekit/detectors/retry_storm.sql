-- Calls that fail are made again and again: without success in between, in several layers, or for much money.
-- Reads  detector_sessions, detector_tools, detector_calls, attempts.
WITH failing AS (
    SELECT session_id, tool_name
    FROM detector_tools
    WHERE is_failed
    GROUP BY session_id, tool_name
    HAVING count(*) >= {failures}
),
tried AS (
    SELECT
        t.*,
        -- Calls between two successes have the same number: of any call of the tool, and of one with these arguments.
        sum(CASE WHEN t.is_done THEN 1 ELSE 0 END) OVER (
            PARTITION BY t.session_id, t.tool_name ORDER BY t.start_ns, t.span_id
        ) AS tool_run,
        sum(CASE WHEN t.is_done THEN 1 ELSE 0 END) OVER (
            PARTITION BY t.session_id, t.tool_name, t.tool_args_hash ORDER BY t.start_ns, t.span_id
        ) AS args_run
    FROM detector_tools AS t
    JOIN failing AS f ON t.session_id = f.session_id AND t.tool_name = f.tool_name
),
streaks AS (
    SELECT session_id, tool_name, count(*) AS failures, 'same arguments' AS alike, list(mark) AS marks
    FROM tried
    WHERE is_failed AND tool_args_hash IS NOT NULL
    GROUP BY session_id, tool_name, tool_args_hash, args_run
    UNION ALL
    SELECT session_id, tool_name, count(*), error_type, list(mark)
    FROM tried
    WHERE is_failed AND error_type IS NOT NULL
    GROUP BY session_id, tool_name, error_type, tool_run
),
storms AS (
    SELECT
        session_id, max(failures) AS failures,
        arg_max(tool_name || ' failed ' || CAST(failures AS VARCHAR) || ' times: ' || alike, row(failures, tool_name, alike))
            AS reason,
        flatten(list(marks)) AS marks
    FROM streaks
    WHERE failures >= {failures}
    GROUP BY session_id
),
unnamed AS (
    SELECT session_id
    FROM tried
    WHERE is_failed AND tool_args_hash IS NULL AND error_type IS NULL
    GROUP BY session_id
),
-- The outer layer tries several times, the inner one several times within one of those: attempts of one logical call under
-- several parents, and two of them under one.
retried AS (
    SELECT session_id, call_id FROM attempts GROUP BY session_id, call_id HAVING count(*) > 1
),
layers AS (
    SELECT a.session_id, a.call_id, c.parent_span_id, count(*) AS attempts, list(c.mark) AS marks
    FROM retried AS r
    JOIN attempts AS a ON r.session_id = a.session_id AND r.call_id = a.call_id
    JOIN detector_calls AS c ON c.session_id = a.session_id AND c.span_id = a.span_id AND c.trace_id = a.trace_id
    GROUP BY a.session_id, a.call_id, c.parent_span_id
),
nested_calls AS (
    SELECT session_id, call_id, flatten(list(marks)) AS marks
    FROM layers
    GROUP BY session_id, call_id
    HAVING count(*) > 1 AND max(attempts) > 1
),
nested AS (
    SELECT session_id, 2 AS layers, flatten(list(marks)) AS marks FROM nested_calls GROUP BY session_id
),
burnt AS (
    SELECT
        session_id,
        sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) AS tokens,
        sum(CASE WHEN waste_reason = 'failed_attempt' THEN 0 ELSE coalesce(input_tokens, 0) + coalesce(output_tokens, 0) END)
            AS useful,
        list(CAST(start_ns AS VARCHAR) || ':' || span_id) FILTER (WHERE waste_reason = 'failed_attempt') AS marks
    FROM attempts
    GROUP BY session_id
),
unmetered AS (
    SELECT session_id FROM detector_calls WHERE is_unmetered GROUP BY session_id
),
measured AS (
    SELECT
        n.session_id,
        s.failures, s.reason, s.marks AS storm_marks,
        e.layers, e.marks AS layer_marks,
        -- Nothing useful came of it: what was burnt is a multiple without bound, of which nothing but "more" can be said.
        CASE WHEN b.useful > 0 THEN CAST(b.tokens AS DOUBLE) / b.useful WHEN b.tokens > 0 THEN {amplification_high} END AS amplification,
        b.marks AS burnt_marks,
        CASE
            WHEN n.llm_calls = 0 AND n.tool_calls = 0 THEN 'no calls'
            WHEN u.session_id IS NOT NULL THEN 'failed tool calls with neither arguments nor an error type'
            WHEN m.session_id IS NOT NULL THEN 'failed model calls of unknown usage'
        END AS missing
    FROM detector_sessions AS n
    LEFT JOIN storms AS s ON n.session_id = s.session_id
    LEFT JOIN nested AS e ON n.session_id = e.session_id
    LEFT JOIN burnt AS b ON n.session_id = b.session_id
    LEFT JOIN unnamed AS u ON n.session_id = u.session_id
    LEFT JOIN unmetered AS m ON n.session_id = m.session_id
)
SELECT
    session_id,
    CASE
        WHEN failures IS NOT NULL OR layers >= {layers} OR amplification >= {amplification} THEN 'hit'
        WHEN missing IS NOT NULL THEN 'not_evaluable'
        ELSE 'clear'
    END AS verdict,
    CASE WHEN amplification >= {amplification_high} THEN 'high' ELSE 'medium' END AS severity,
    CASE
        WHEN failures IS NOT NULL THEN failures
        WHEN layers >= {layers} THEN layers
        ELSE amplification
    END AS value,
    CASE
        WHEN failures IS NOT NULL THEN {failures}
        WHEN layers >= {layers} THEN {layers}
        ELSE {amplification}
    END AS threshold,
    CASE
        WHEN failures IS NOT NULL THEN storm_marks
        WHEN layers >= {layers} THEN layer_marks
        WHEN amplification >= {amplification} THEN burnt_marks
    END AS evidence,
    CASE
        WHEN failures IS NOT NULL THEN reason
        WHEN layers >= {layers} THEN 'a call was retried inside of a retry'
        WHEN amplification >= {amplification} THEN 'failed attempts multiplied the tokens'
        ELSE missing
    END AS reason
FROM measured

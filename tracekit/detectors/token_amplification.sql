-- A session costs a multiple of what its cohort usually does.
-- Reads  detector_sessions, detector_cohorts, detector_spans (of sessions with nested agents), attempts.
--
-- By cost where all calls of the session have a price, else by tokens. A known part that is too much already is too much.
-- Many calls or nested agents are no sign by themselves, as that is how some agents work: they count in a session that costs
-- clearly more than others of the same agent.
WITH RECURSIVE ratios AS (
    SELECT
        n.session_id,
        CASE
            WHEN n.llm_calls = 0 THEN 'no model call'
            WHEN c.day IS NULL THEN 'no baseline of an earlier day'
            WHEN c.n < {sessions} THEN 'only ' || CAST(c.n AS VARCHAR) || ' sessions in the baseline'
        END AS missing,
        CASE WHEN c.n >= {sessions} AND c.n_priced >= {sessions} AND c.cohort_cost_median > 0
            THEN n.cost_usd / c.cohort_cost_median END AS cost_ratio,
        CASE WHEN c.n >= {sessions} AND c.cohort_tokens_median > 0
            THEN CAST(coalesce(n.input_tokens, 0) + coalesce(n.output_tokens, 0) AS DOUBLE) / c.cohort_tokens_median END AS tokens_ratio,
        n.unpriced_calls > 0 AS is_bound,
        n.input_tokens IS NULL AND n.output_tokens IS NULL AS is_uncounted,
        CAST(n.llm_calls AS DOUBLE) / greatest(n.traces, 1) AS turn_calls
    FROM detector_sessions AS n
    JOIN detector_cohorts AS c ON n.session_id = c.session_id
),
measured AS (
    SELECT
        *,
        -- The last bits of a sum depend on the order of adding, and decide nothing.
        round(CASE
            WHEN cost_ratio IS NOT NULL AND (NOT is_bound OR cost_ratio >= {ratio}) THEN cost_ratio
            WHEN NOT is_uncounted THEN tokens_ratio
        END, 6) AS ratio
    FROM ratios
),
-- An agent's depth is the number of agents around it, in its trace.
nesting AS (
    SELECT s.session_id
    FROM detector_spans AS s
    JOIN measured AS m ON s.session_id = m.session_id
    WHERE s.operation = 'agent' AND m.ratio >= {structure_ratio}
    GROUP BY s.session_id
    HAVING count(*) > {depth}
),
tree AS (
    SELECT s.session_id, s.trace_id, s.span_id, s.parent_span_id, s.operation = 'agent' AS is_agent, s.start_ns
    FROM detector_spans AS s
    JOIN nesting AS n ON s.session_id = n.session_id
),
upwards AS (
    SELECT session_id, trace_id, span_id, start_ns, parent_span_id, 0 AS depth, 0 AS steps
    FROM tree
    WHERE is_agent
    UNION ALL
    SELECT
        u.session_id, u.trace_id, u.span_id, u.start_ns, p.parent_span_id,
        u.depth + CASE WHEN p.is_agent THEN 1 ELSE 0 END, u.steps + 1
    FROM upwards AS u
    JOIN tree AS p ON p.trace_id = u.trace_id AND p.span_id = u.parent_span_id
    -- Broken instrumentation makes circles.
    WHERE u.steps < 100
),
depths AS (
    SELECT session_id, max(depth) AS depth, list(CAST(start_ns AS VARCHAR) || ':' || span_id) FILTER (WHERE depth >= {depth})
        AS marks
    FROM upwards
    GROUP BY session_id
),
judged AS (
    SELECT
        m.*,
        d.depth,
        d.marks,
        CASE
            WHEN m.ratio >= {ratio} THEN 'ratio'
            WHEN m.ratio >= {structure_ratio} AND d.depth >= {depth} THEN 'depth'
            WHEN m.ratio >= {structure_ratio} AND m.turn_calls >= {turn_calls} THEN 'turn_calls'
        END AS sign
    FROM measured AS m
    LEFT JOIN depths AS d ON m.session_id = d.session_id
),
-- The calls that made it expensive.
dearest AS (
    SELECT a.session_id, CAST(a.start_ns AS VARCHAR) || ':' || a.span_id AS mark
    FROM attempts AS a
    JOIN judged AS j ON a.session_id = j.session_id
    WHERE j.sign IN ('ratio', 'turn_calls')
    QUALIFY row_number() OVER (
        PARTITION BY a.session_id
        ORDER BY coalesce(a.cost_usd, 0) DESC, coalesce(a.input_tokens, 0) + coalesce(a.output_tokens, 0) DESC, a.span_id
    ) <= 5
),
dear AS (
    SELECT session_id, list(mark) AS marks FROM dearest GROUP BY session_id
)
SELECT
    j.session_id,
    CASE
        WHEN j.sign IS NOT NULL THEN 'hit'
        WHEN j.missing IS NOT NULL OR j.ratio IS NULL THEN 'not_evaluable'
        ELSE 'clear'
    END AS verdict,
    CASE j.sign WHEN 'ratio' THEN 'high' ELSE 'medium' END AS severity,
    CASE j.sign WHEN 'depth' THEN j.depth WHEN 'turn_calls' THEN j.turn_calls ELSE j.ratio END AS value,
    CASE j.sign WHEN 'depth' THEN {depth} WHEN 'turn_calls' THEN {turn_calls} ELSE {ratio} END AS threshold,
    coalesce(CASE WHEN j.sign = 'depth' THEN j.marks END, e.marks) AS evidence,
    CASE
        WHEN j.sign = 'ratio' THEN 'costs ' || CAST(round(j.ratio, 1) AS VARCHAR) || ' times its cohort''s median'
        WHEN j.sign = 'depth' THEN 'agents within agents, and ' || CAST(round(j.ratio, 1) AS VARCHAR) || ' times the median'
        WHEN j.sign = 'turn_calls' THEN 'many calls in a turn, and ' || CAST(round(j.ratio, 1) AS VARCHAR) || ' times the median'
        WHEN j.missing IS NOT NULL THEN j.missing
        WHEN j.ratio IS NULL THEN 'neither cost nor tokens to compare'
    END AS reason
FROM judged AS j
LEFT JOIN dear AS e ON j.session_id = e.session_id

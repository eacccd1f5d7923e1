-- The stop of every task. Filled in by rules.py; makes `stops`: a row per (session_id, task_id).
--
-- Rules are evaluated twice: with everything, and without declarations and verdicts (the inferred stop). A code the
-- application passed (declared_code) is weighed against the first rule that matched (found):
--   nothing passed                              -> found
--   success, but a failure was found            -> completed.false_claim; found contributes. With a passed verdict the claim
--                                                  was true: found stays
--   success, and a verdict confirms it          -> found (completed.verified)
--   success, and work that went on after it     -> found (loop.unaware_done)
--   failure, but a success was found            -> unknown.conflict
--   everything else                             -> what was passed; found contributes
CREATE OR REPLACE TEMP TABLE stops AS
WITH
hits AS (
    SELECT session_id, task_id, declared_code, verdict, llm_raw, framework_raw, done_class, declared_failed,
        FALSE AS inferred,
        {hits}
    FROM evidence
    UNION ALL
    SELECT session_id, task_id, declared_code, verdict, llm_raw, framework_raw, done_class, declared_failed,
        TRUE AS inferred,
        {hits}
    FROM (SELECT {without_declarations} FROM evidence) AS e
),
ranked AS (
    SELECT *, CASE {first} END AS n FROM hits
),
found AS (
    SELECT
        h.*,
        r.rule,
        r.code,
        r.level,
        c.outcome,
        {contributing} AS others
    FROM ranked AS h
    JOIN stop_rules AS r ON r.n = h.n
    JOIN stop_codes AS c ON c.code = r.code
),
weighed AS (
    SELECT
        f.*,
        d.outcome AS declared_outcome,
        CASE
            WHEN f.declared_code IS NULL OR f.code = f.declared_code THEN 'found'
            WHEN f.code = 'completed.verified' AND d.outcome = 'success' THEN 'found'
            -- That it went on after saying so is only found where it said so.
            WHEN f.code = 'loop.unaware_done' AND d.outcome = 'success' THEN 'found'
            WHEN d.outcome = 'success' AND f.outcome = 'failure' AND f.verdict = 'pass' THEN 'found'
            WHEN d.outcome = 'success' AND f.outcome = 'failure' AND f.code = 'completed.false_claim' THEN 'found'
            WHEN d.outcome = 'success' AND f.outcome = 'failure' THEN 'contradicted'
            WHEN d.outcome = 'failure' AND f.outcome = 'success' THEN 'conflict'
            ELSE 'declared'
        END AS ruling
    FROM found AS f
    LEFT JOIN stop_codes AS d ON d.code = f.declared_code
    WHERE NOT f.inferred
),
ruled AS (
    SELECT
        *,
        CASE ruling
            WHEN 'found' THEN code
            WHEN 'contradicted' THEN 'completed.false_claim'
            WHEN 'conflict' THEN 'unknown.conflict'
            ELSE declared_code
        END AS stop_reason,
        CASE ruling WHEN 'found' THEN rule ELSE 'declared.' || ruling END AS stop_rule,
        CASE WHEN ruling = 'found' AND coalesce(code = declared_code, FALSE) THEN 'declared'
            WHEN ruling IN ('found', 'contradicted') THEN level ELSE 'declared' END AS stop_evidence,
        CASE WHEN ruling = 'found' OR code = 'unknown.no_evidence' THEN '' ELSE ',' || code END || others
            || CASE WHEN ruling = 'conflict' AND strpos(others, declared_code) = 0 THEN ',' || declared_code ELSE '' END AS listed
    FROM weighed
),
listed AS (
    SELECT *, replace(listed || ',', ',' || stop_reason || ',', ',') AS others_listed FROM ruled
)
SELECT
    s.session_id,
    s.task_id,
    s.stop_reason,
    c.category AS stop_category,
    c.outcome AS stop_outcome,
    c.fault AS stop_fault,
    s.stop_rule,
    '{version}' AS stop_rule_version,
    s.stop_evidence,
    CASE WHEN length(s.others_listed) > 2 THEN substr(s.others_listed, 2, length(s.others_listed) - 2) END AS stop_contributing,
    s.llm_raw AS stop_raw,
    s.framework_raw AS stop_framework_raw,
    i.code AS inferred_stop_reason,
    i.outcome AS outcome_inferred,
    CASE
        WHEN s.declared_outcome IS NOT NULL THEN s.declared_outcome
        WHEN s.declared_failed THEN 'failure'
        WHEN s.done_class = 'ok' THEN 'success'
        WHEN s.done_class IS NOT NULL THEN 'undetermined'
    END AS outcome_declared
FROM listed AS s
JOIN stop_codes AS c ON c.code = s.stop_reason
JOIN found AS i ON i.session_id = s.session_id AND i.task_id = s.task_id AND i.inferred;

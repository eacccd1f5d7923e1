-- Every failed task with its one cause.
-- Reads  sla_lost, sla_lost_calls, sla_lost_classes, sla_causes (code, cause).
-- Makes  sla_loss: sla_lost with cause, code (stop code that decided it), contract (what the terms say: counted,
--        excluded, uncounted, unstated, no_terms; null where no call of a provider ended the task), terms, provider_failed.

CREATE OR REPLACE TEMP TABLE sla_loss AS
WITH ranks AS (
    SELECT session_id, task_id, terms, class,
        CASE class WHEN 'counted' THEN 1 WHEN 'excluded' THEN 2 WHEN 'uncounted' THEN 3 ELSE 4 END AS place
    FROM sla_lost_classes
),
classes AS (
    SELECT session_id, task_id, terms, class
    FROM ranks
    QUALIFY row_number() OVER (PARTITION BY session_id, task_id ORDER BY place, terms) = 1
),
judged AS (
    SELECT
        t.*,
        coalesce(c.failure_class, t.stop_reason, 'unknown.no_evidence') AS code,
        CASE WHEN c.span_id IS NOT NULL THEN coalesce(k.class, 'no_terms') END AS contract,
        k.terms,
        c.provider AS failed_provider
    FROM sla_lost AS t
    LEFT JOIN sla_lost_calls AS c ON c.session_id = t.session_id AND c.task_id = t.task_id
    LEFT JOIN classes AS k ON k.session_id = t.session_id AND k.task_id = t.task_id
)
SELECT
    j.*,
    CASE
        WHEN j.contract = 'counted' THEN 'provider_counted'
        WHEN coalesce(s.cause, g.cause) = 'provider' THEN 'provider_excluded'
        ELSE coalesce(s.cause, g.cause, 'unknown')
    END AS cause
FROM judged AS j
LEFT JOIN sla_causes AS s ON s.code = j.code
LEFT JOIN sla_causes AS g ON g.code = split_part(j.code, '.', 1)

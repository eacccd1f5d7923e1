-- The loss by cause, and the tasks it is a share of.
-- Reads  sla_loss, sla_tasks. {keys}, {names}, {group}, {same_group} are the grouping.
-- Makes  a row per group, cause, deciding code and what the terms say: tasks and squares (sums of weights and their
--        squares), decided and decided_squares (tasks with a known outcome), tokens, cost_usd, unpriced_calls. A group
--        without a loss has one row whose cause is null.

WITH chosen AS (
    SELECT {keys} stands_for
    FROM sla_tasks
    WHERE outcome IN ('success', 'failure') AND start_ns >= {from_ns} AND start_ns < {to_ns} AND {where}
),
groups AS (
    SELECT {names} sum(stands_for) AS decided, sum(stands_for * stands_for) AS decided_squares
    FROM chosen
    GROUP BY {group}
),
others AS (
    SELECT {names} cause, code, contract, terms, failed_provider,
        sum(stands_for) AS tasks,
        sum(stands_for * stands_for) AS squares,
        sum(stands_for * tokens) AS tokens,
        sum(stands_for * cost_usd) AS cost_usd,
        sum(unpriced_calls) AS unpriced_calls
    FROM sla_loss
    GROUP BY {names} cause, code, contract, terms, failed_provider
)
SELECT groups.*, others.cause, others.code, others.contract, others.terms, others.failed_provider, others.tasks,
    others.squares, others.tokens, others.cost_usd, others.unpriced_calls
FROM groups
LEFT JOIN others ON {same_group}
ORDER BY decided DESC, others.tasks DESC, others.cause, others.code

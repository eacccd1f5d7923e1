-- What the SLA questions read: attempts and tasks with the number of attempts and tasks each stands for.
-- Reads  attempts, tasks, sessions.
-- Makes  sla_attempts, sla_tasks (views). {weight} is 1 where the ledger has every session, else the
--        session's weight; {sessions} joins them only then.

CREATE OR REPLACE TEMP VIEW sla_attempts AS
SELECT
    a.*,
    {weight} AS stands_for,
    a.start_ns + CAST(coalesce(a.duration_s, 0) * 1e9 AS BIGINT) AS end_ns,
    -- Whoever cancelled the call was on this side: it tells nothing about the provider.
    coalesce(
        a.waste_reason = 'cancelled_sibling' OR a.failure_class LIKE 'cancelled.%', FALSE
    ) AS is_aborted
FROM attempts AS a
{sessions};

CREATE OR REPLACE TEMP VIEW sla_tasks AS
SELECT a.*, {weight} AS stands_for
FROM tasks AS a
{sessions};

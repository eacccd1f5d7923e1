-- Attempts with the columns of their task; provider, model and times are the attempt's own.
-- Reads  sla_attempts, sla_failed, sla_tasks.
-- Makes  sla_calls, sla_failed_calls (views).

CREATE OR REPLACE TEMP VIEW sla_calls AS
SELECT
    t.* EXCLUDE (provider, model, start_ns, end_ns, started_at, stands_for, essential),
    a.provider, a.model, a.region, a.agent_name AS caller, a.attempt, a.is_final, a.failure_class, a.stop_class, a.start_ns,
    a.end_ns, a.started_at, a.essential, a.is_aborted, a.stands_for
FROM sla_attempts AS a
JOIN sla_tasks AS t ON t.session_id = a.session_id AND t.task_id = a.task_id;

CREATE OR REPLACE TEMP VIEW sla_failed_calls AS
SELECT
    t.* EXCLUDE (provider, model, start_ns, end_ns, started_at, stands_for, essential),
    a.provider, a.model, a.agent_name AS caller, a.start_ns, a.end_ns, a.started_at, a.is_recovered, a.stands_for
FROM sla_failed AS a
JOIN sla_tasks AS t ON t.session_id = a.session_id AND t.task_id = a.task_id

-- Attempts by themselves, where a question does not speak of the tasks they are of.
-- Reads  sla_attempts, sla_failed.
-- Makes  sla_calls, sla_failed_calls (views).

CREATE OR REPLACE TEMP VIEW sla_calls AS
SELECT *, agent_name AS caller FROM sla_attempts;

CREATE OR REPLACE TEMP VIEW sla_failed_calls AS
SELECT *, agent_name AS caller FROM sla_failed

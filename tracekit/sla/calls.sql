-- Attempts by themselves, where a question does not speak of the tasks they are of.
-- Reads  sla_attempts.
-- Makes  sla_calls (view).
CREATE OR REPLACE TEMP VIEW sla_calls AS
SELECT *, agent_name AS caller FROM sla_attempts

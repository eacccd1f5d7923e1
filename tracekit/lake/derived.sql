-- Rows that were derived before, beside those the models made now. A verdict is learned when the lake has it.
-- Reads  derived_tasks, derived_sessions, derived_outcomes, config.
-- Makes  adds to tasks, sessions, outcomes.

INSERT INTO tasks BY NAME SELECT * FROM derived_tasks;

INSERT INTO sessions BY NAME SELECT * FROM derived_sessions;

INSERT INTO outcomes BY NAME
SELECT d.* REPLACE (c.recorded_ns AS recorded_ns)
FROM derived_outcomes AS d
CROSS JOIN config AS c;

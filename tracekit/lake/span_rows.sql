-- What is final before the ledger is made, as rows of the lake with the date of their part.
-- Reads  ledger_spans, every_attempt, lake_places. Names in braces stand for column lists.
-- Makes  made_spans (what the models made of each span), new_attempts.

CREATE TEMP VIEW made_spans AS
SELECT d.date, {spans}
FROM ledger_spans AS t
JOIN lake_places AS d ON t.session_id = d.session_id;

CREATE TEMP VIEW new_attempts AS
SELECT d.date, {attempts}
FROM every_attempt AS t
JOIN lake_places AS d ON t.session_id = d.session_id;

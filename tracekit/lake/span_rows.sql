-- What is final before the ledger is made, as rows of the lake with the date of their part.
-- Reads  ledger_spans, attempts. Names in braces stand for column lists.
-- Makes  lake_dates, made_spans (what the models made of each span), new_attempts.

CREATE TEMP TABLE lake_dates AS
SELECT
    session_id,
    strftime(make_timestamp(coalesce(min(start_ns), 0) // 1000), '%Y-%m-%d') AS date
FROM ledger_spans
GROUP BY session_id;

CREATE TEMP VIEW made_spans AS
SELECT d.date, {spans}
FROM ledger_spans AS t
JOIN lake_dates AS d ON t.session_id = d.session_id;

CREATE TEMP VIEW new_attempts AS
SELECT d.date, {attempts}
FROM attempts AS t
JOIN lake_dates AS d ON t.session_id = d.session_id;

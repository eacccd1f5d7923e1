-- The session of an id, or the few whose ids begin with it.
SELECT *
FROM sessions
WHERE starts_with(session_id, {prefix})
ORDER BY session_id <> {prefix}, session_id
LIMIT 4

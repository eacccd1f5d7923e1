-- Ids of the sessions that come first, by what the files say of them.
SELECT session_id
FROM files.sessions
WHERE {stored}
ORDER BY {sort} {direction} NULLS LAST, session_id
LIMIT {limit}

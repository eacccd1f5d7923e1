-- Of a dropped session the lake has no spans to derive it from again: where it is touched, and none of the incoming spans is
-- of it, its rows stay as they are.
-- Reads  touched, stored_sessions, lake_places.

DELETE FROM touched
WHERE session_id IN (SELECT session_id FROM stored_sessions WHERE NOT kept)
    AND session_id NOT IN (SELECT session_id FROM lake_places);

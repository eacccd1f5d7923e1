"""Why a session stopped: taxonomy, value maps, rules and classifier."""

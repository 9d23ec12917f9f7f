"""Why: what is unusual about a clip, and which recordings are unfit for a decision."""

"""From scores to a limit that says what it promises: on which parts, with what certainty, and at what price."""

"""Files of labels: import and export in the formats of other programs, so that nothing on record is lost on the way."""

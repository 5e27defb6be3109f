"""From pictures of a board to millimetres: the board, the lens, the scale with its uncertainty, the flat field."""

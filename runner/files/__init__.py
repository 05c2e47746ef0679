"""Which path is whose: rules by regular expression, and the table that the layer walks for each path."""

"""What users touch: nodes and their operators, `delayed`, and the search for nodes in arguments."""

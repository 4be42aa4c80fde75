"""graft for assistants: its verbs as tools of the Model Context Protocol."""

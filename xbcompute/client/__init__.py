"""What a researcher's script talks to: studies, sessions, results and figures."""

"""What is computed: horizontal analyses, each a state machine whose only talk is a sum."""

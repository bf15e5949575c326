"""Pure decisions: from grades, rules, parties and purpose to a verdict, a protocol and reasons."""

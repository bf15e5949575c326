"""How a sum is kept secret: engines behind ``core.ports.Summation``, which do not know each other."""

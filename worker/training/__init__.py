"""Training: `worker train CONFIG [key.sub=value …]`, and what it is made of."""

"""What clients send and receive: pydantic models, nothing else."""

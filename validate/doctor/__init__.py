"""What is installed here, what fits what, and what a job lacks; no framework is imported."""

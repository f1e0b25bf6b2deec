"""The door: picks the verb, composes the config, runs the job, and turns errors into exit codes."""

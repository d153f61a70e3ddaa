"""What a run would read, told and drawn without one."""

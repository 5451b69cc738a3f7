"""The builder's workstation: assess → compress → convert → verify → measure → choose → bundle → report."""

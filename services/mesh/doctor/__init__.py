"""Examines this machine, its configuration and its mesh: what is wrong, and how to mend it. Nothing is changed."""

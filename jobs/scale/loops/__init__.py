"""The work of fcs-predict by other libraries' loops, and what measures it."""

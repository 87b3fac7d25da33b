"""What happens, in order: one file per dataflow, settings, the command line."""

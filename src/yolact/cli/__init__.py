"""The command line: thin, one short file per command."""

"""One file a command: HELP, DESCRIPTION, configure(parser) and run(arguments) → exit code.

Commands talk to people on standard output; each is loaded when it is asked for.
"""

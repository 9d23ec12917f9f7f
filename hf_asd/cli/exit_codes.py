"""The exit codes of all commands."""

DONE, ANOMALY, BAD_INPUT, NO_DECISION, OWN_FAULT = range(5)
INTERRUPTED, OUTPUT_CLOSED = 130, 141  # as shells do: 128 and the number of the signal
EXIT_CODES = (
    f"Exit codes: {DONE} done; {ANOMALY} an anomaly was found, and {NO_DECISION} none was found, but about some "
    f"recordings there is no decision (both only with --fail-on-anomaly); {BAD_INPUT} something that you can mend, "
    f"which the error names; {OWN_FAULT} an error of hf-asd itself; {INTERRUPTED} stopped by Ctrl+C; {OUTPUT_CLOSED} "
    "the reader of the output ended first."
)

"""What a pass costs, beside what it must cost.

Everything is compared with something else that was measured on the same machine in the same run;
docs/performance.md has the tables and the command.
"""

"""What a pass costs, beside what it must cost.

Everything is compared with something else that was measured on the same machine in the same run;
the README has the table and the command.
"""

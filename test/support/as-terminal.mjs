// Loaded before a program that is to believe that it writes to a terminal.
process.stdout.isTTY = true
process.stderr.isTTY = true

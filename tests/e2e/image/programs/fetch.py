"""CPython: urllib over libc's resolver. Prints the body of GET argv[1]."""

import sys
import urllib.request

with urllib.request.urlopen(sys.argv[1]) as answer:
    sys.stdout.write(answer.read().decode())

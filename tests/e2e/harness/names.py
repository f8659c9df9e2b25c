# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""names - user names that a client may try, to break out of where they go

NASTY	are names, and would mean something to one protocol or another
BROKEN	are none (bytes)
"""
NASTY = ["*)(uid=*", "*", "a)(uid=b", "a)(|(uid=a", "user0@example.org)(uid=a",
         '"quoted"', "per%cent%s%n", "%2a", "back\\slash\\2a", "\\", "\\2a",
         "semi;colon,comma=x", "a,ou=people", "../../etc/passwd",
         "col:on:$6$x", "x" * 256, "smörgås@exämple.org", " leading",
         "trailing ", "#hash", "a\u2028b"]
BROKEN = [b"new\r\nline", b"nul\0byte", b"\xff\xfe8-bit", b"y" * 257,
          b"bell\a"]

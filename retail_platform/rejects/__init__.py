"""Working rejected rows: what is open and what to do about it (`book`), and sending a row again (`sending`)."""

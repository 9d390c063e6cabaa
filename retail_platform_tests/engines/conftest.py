"""Java for Spark as tests want it: for processes that live for seconds and would spend a third of them compiling."""

import os

os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

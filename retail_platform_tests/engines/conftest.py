"""Java for Spark as tests want it: processes that live for seconds, a third of which goes into compiling them well."""

import os

os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

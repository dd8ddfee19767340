import os
import signal

os.write(2, b"last words\n")
os.kill(os.getpid(), signal.SIGKILL)

package lalb;

/** Writes to the invocation's output. */
public interface Logger {
  void log(String message);

  void log(byte[] message);
}

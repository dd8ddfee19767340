package workerfront;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Output of several invocations at once: System.out and System.err go as `log` frames of the invocation whose thread, or a
 * thread started by it, writes. What comes from elsewhere, or after the invocation's end, goes to the process's own output.
 */
final class TiedOutput {
  private static final int LOG_BYTES = 1 << 20;

  private final Link link;
  private final InheritableThreadLocal<String> current = new InheritableThreadLocal<>();
  private final Set<String> running = ConcurrentHashMap.newKeySet();

  private TiedOutput(Link link) {
    this.link = link;
  }

  static TiedOutput install(Link link) {
    TiedOutput tied = new TiedOutput(link);
    System.setOut(tied.stream("stdout", System.out));
    System.setErr(tied.stream("stderr", System.err));
    return tied;
  }

  /** From here on the calling thread, and those it starts, belong to the invocation. */
  void enter(String id) {
    running.add(id);
    current.set(id);
  }

  /** The invocation is about to be answered: no frame may name it afterwards. */
  synchronized void leave(String id) {
    running.remove(id);
  }

  private PrintStream stream(String name, PrintStream direct) {
    OutputStream tied = new OutputStream() {
      @Override
      public void write(int unit) throws IOException {
        write(new byte[] {(byte) unit}, 0, 1);
      }

      @Override
      public void write(byte[] bytes, int from, int length) throws IOException {
        if (!sendLog(name, bytes, from, length)) {
          direct.write(bytes, from, length);
          direct.flush();
        }
      }
    };
    return new PrintStream(tied, true, StandardCharsets.UTF_8);
  }

  private synchronized boolean sendLog(String stream, byte[] bytes, int from, int length) throws IOException {
    String id = current.get();
    if (id == null || !running.contains(id)) {
      return false;
    }
    JsonObject header = Link.header("log", "id", id, "stream", stream);
    for (int done = 0; done < length; done += LOG_BYTES) {
      link.send(header, bytes, from + done, Math.min(LOG_BYTES, length - done));
    }
    return true;
  }
}

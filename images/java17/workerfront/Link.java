package workerfront;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** Frames: u32le header length, u32le body length, header (JSON), body. See docs/protocol.md, "Frames". */
final class Link {
  private static final int PREFIX = 8;
  private static final int HEADER_LIMIT = 1 << 20;
  private static final int BODY_LIMIT = 64 << 20;
  /** File streams copy what they are given into memory outside of the heap: keep that small. */
  private static final int CHUNK = 64 << 10;
  private static final byte[] NOTHING = {};

  private final InputStream in;
  private final OutputStream out;

  Link(InputStream in, OutputStream out) {
    this.in = in;
    this.out = out;
  }

  record Frame(JsonObject header, byte[] body) {}

  /** A header of a type with pairs of key and text. */
  static JsonObject header(String type, String... pairs) {
    JsonObject header = new JsonObject();
    header.addProperty("type", type);
    for (int at = 0; at < pairs.length; at += 2) {
      header.addProperty(pairs[at], pairs[at + 1]);
    }
    return header;
  }

  /** The next frame; null at the end. */
  Frame read() throws IOException {
    byte[] prefix = new byte[PREFIX];
    if (!fill(prefix)) {
      return null;
    }
    ByteBuffer lengths = ByteBuffer.wrap(prefix).order(ByteOrder.LITTLE_ENDIAN);
    byte[] header = new byte[checked(lengths.getInt(), HEADER_LIMIT)];
    byte[] body = new byte[checked(lengths.getInt(), BODY_LIMIT)];
    if (!fill(header) || !fill(body)) {
      throw new EOFException();
    }
    return new Frame(JsonParser.parseString(new String(header, StandardCharsets.UTF_8)).getAsJsonObject(), body);
  }

  void send(JsonObject header) throws IOException {
    send(header, NOTHING, 0, 0);
  }

  void send(JsonObject header, byte[] body, int from, int length) throws IOException {
    JsonBuffer text = new JsonBuffer(HEADER_LIMIT);
    Json.write(header, text);
    int head = (int) text.size();
    boolean together = length <= CHUNK;
    ByteBuffer first = ByteBuffer.allocate(PREFIX + head + (together ? length : 0)).order(ByteOrder.LITTLE_ENDIAN);
    first.putInt(head).putInt(length).put(text.bytes(), 0, head);
    if (together) {
      first.put(body, from, length);
    }
    synchronized (out) {
      out.write(first.array());
      for (int done = together ? length : 0; done < length; done += CHUNK) {
        out.write(body, from + done, Math.min(CHUNK, length - done));
      }
    }
  }

  private static int checked(int length, int limit) {
    if (length < 0 || length > limit) {
      throw new IllegalStateException("a frame over the limit");
    }
    return length;
  }

  /** False when the stream ends before the first byte. */
  private boolean fill(byte[] bytes) throws IOException {
    for (int done = 0; done < bytes.length; ) {
      int count = in.read(bytes, done, Math.min(CHUNK, bytes.length - done));
      if (count < 0) {
        return false;
      }
      done += count;
    }
    return true;
  }
}

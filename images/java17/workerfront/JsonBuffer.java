package workerfront;

import java.io.Writer;
import java.util.Arrays;

/**
 * Takes JSON text as UTF-8, up to a limit of bytes; what goes beyond is counted but not kept, so that a result that is too large
 * does not exhaust the heap. A lone surrogate, which UTF-8 has no form for, becomes an escape: it can only be in a JSON string.
 */
final class JsonBuffer extends Writer {
  private final int limit;
  private byte[] bytes = new byte[1024];
  private long size;
  private char high;

  JsonBuffer(int limit) {
    this.limit = limit;
  }

  /** Bytes of the whole text, kept or not. */
  long size() {
    return size;
  }

  boolean isOver() {
    return size > limit;
  }

  /** The text; only the first `size` bytes of the array count. */
  byte[] bytes() {
    return bytes;
  }

  @Override
  public void write(char[] text, int from, int length) {
    for (int at = from; at < from + length; at++) {
      put(text[at]);
    }
  }

  @Override
  public void write(String text, int from, int length) {
    for (int at = from; at < from + length; at++) {
      put(text.charAt(at));
    }
  }

  @Override
  public void write(int character) {
    put((char) character);
  }

  private void put(char next) {
    if (high != 0) {
      char first = high;
      high = 0;
      if (Character.isLowSurrogate(next)) {
        int point = Character.toCodePoint(first, next);
        put(0xF0 | point >> 18);
        put(0x80 | point >> 12 & 0x3F);
        put(0x80 | point >> 6 & 0x3F);
        put(0x80 | point & 0x3F);
        return;
      }
      escape(first);
    }
    if (next < 0x80) {
      put((int) next);
    } else if (next < 0x800) {
      put(0xC0 | next >> 6);
      put(0x80 | next & 0x3F);
    } else if (Character.isHighSurrogate(next)) {
      high = next;
    } else if (Character.isLowSurrogate(next)) {
      escape(next);
    } else {
      put(0xE0 | next >> 12);
      put(0x80 | next >> 6 & 0x3F);
      put(0x80 | next & 0x3F);
    }
  }

  private void escape(char surrogate) {
    for (char part : String.format("\\u%04x", (int) surrogate).toCharArray()) {
      put((int) part);
    }
  }

  private void put(int unit) {
    if (size < limit) {
      if (size == bytes.length) {
        bytes = Arrays.copyOf(bytes, (int) Math.min(limit, bytes.length * 2L));
      }
      bytes[(int) size] = (byte) unit;
    }
    size++;
  }

  @Override
  public void flush() {}

  @Override
  public void close() {}
}

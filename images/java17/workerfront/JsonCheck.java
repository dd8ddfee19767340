package workerfront;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.BitSet;

/** Strict JSON (RFC 8259): Gson also reads single quotes, comments, missing quotes and more. */
final class JsonCheck {
  private final String text;
  private int at;

  private JsonCheck(String text) {
    this.text = text;
  }

  static final class Invalid extends Exception {
    private static final long serialVersionUID = 1;

    Invalid(String message) {
      super(message, null, false, false);
    }
  }

  /** The text of bytes that are exactly one JSON value in UTF-8. */
  static String text(byte[] bytes) throws Invalid {
    String text;
    try {
      text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
    } catch (CharacterCodingException broken) {
      throw new Invalid("the event is not UTF-8");
    }
    new JsonCheck(text).check();
    return text;
  }

  /** A loop, not a recursion: nesting must not exhaust the stack. */
  private void check() throws Invalid {
    BitSet objects = new BitSet();
    int depth = 0;
    while (true) {
      // Here a value starts.
      space();
      char first = peek();
      if (first == '{' || first == '[') {
        at++;
        space();
        if (peek() == (first == '{' ? '}' : ']')) {
          at++;
        } else {
          objects.set(depth++, first == '{');
          if (first == '{') {
            key();
          }
          continue;
        }
      } else {
        scalar(first);
      }
      // Here a value has ended.
      while (true) {
        space();
        if (depth == 0) {
          if (at < text.length()) {
            throw unexpected();
          }
          return;
        }
        boolean inObject = objects.get(depth - 1);
        char next = peek();
        at++;
        if (next == ',') {
          if (inObject) {
            space();
            key();
          }
          break;
        }
        if (next != (inObject ? '}' : ']')) {
          at--;
          throw unexpected();
        }
        depth--;
      }
    }
  }

  private void key() throws Invalid {
    string();
    space();
    if (peek() != ':') {
      throw unexpected();
    }
    at++;
  }

  private void scalar(char first) throws Invalid {
    switch (first) {
      case '"' -> string();
      case 't' -> word("true");
      case 'f' -> word("false");
      case 'n' -> word("null");
      default -> number();
    }
  }

  private void string() throws Invalid {
    if (peek() != '"') {
      throw unexpected();
    }
    at++;
    while (true) {
      char next = peek();
      if (next < ' ') {
        throw unexpected();
      }
      at++;
      if (next == '"') {
        return;
      }
      if (next == '\\') {
        escape();
      }
    }
  }

  private void escape() throws Invalid {
    char kind = peek();
    if (kind == 'u') {
      at++;
      for (int digit = 0; digit < 4; digit++, at++) {
        if (Character.digit(peek(), 16) < 0 || peek() > 'f') {
          throw unexpected();
        }
      }
    } else if ("\"\\/bfnrt".indexOf(kind) >= 0) {
      at++;
    } else {
      throw unexpected();
    }
  }

  private void number() throws Invalid {
    if (peek() == '-') {
      at++;
    }
    if (peek() == '0') {
      at++;
    } else {
      digits();
    }
    if (at < text.length() && text.charAt(at) == '.') {
      at++;
      digits();
    }
    if (at < text.length() && (text.charAt(at) | 0x20) == 'e') {
      at++;
      if (peek() == '+' || peek() == '-') {
        at++;
      }
      digits();
    }
  }

  private void digits() throws Invalid {
    int start = at;
    while (at < text.length() && text.charAt(at) >= '0' && text.charAt(at) <= '9') {
      at++;
    }
    if (at == start) {
      throw unexpected();
    }
  }

  private void word(String word) throws Invalid {
    if (!text.startsWith(word, at)) {
      throw unexpected();
    }
    at += word.length();
  }

  private void space() {
    while (at < text.length() && " \t\n\r".indexOf(text.charAt(at)) >= 0) {
      at++;
    }
  }

  private char peek() throws Invalid {
    if (at >= text.length()) {
      throw new Invalid("unexpected end of the event");
    }
    return text.charAt(at);
  }

  private Invalid unexpected() {
    if (at >= text.length()) {
      return new Invalid("unexpected end of the event");
    }
    return new Invalid("unexpected character '" + text.charAt(at) + "' at position " + at + " of the event");
  }
}

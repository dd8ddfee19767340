package workerfront;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.TypeAdapter;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonWriter;
import java.io.IOException;
import java.io.Writer;
import java.lang.reflect.Type;
import java.math.BigDecimal;
import java.math.BigInteger;

/** Events and results by Gson: fields whatever their visibility, without those that are null; no escapes for HTML. */
final class Json {
  private static final Gson GSON =
      new GsonBuilder()
          .disableHtmlEscaping()
          .setObjectToNumberStrategy(Json::readNumber)
          .registerTypeAdapterFactory(new Nulls())
          .create();

  private Json() {}

  /** Loads the classes that every call needs, while nothing waits for them. */
  static void warmUp() {
    GSON.fromJson("{\"a\":[1,\"\"]}", Object.class);
    write(new lalb.Response(200, ""), new JsonBuffer(64));
  }

  /** An event as a value of a parameter's type. A String takes any event: one that is no JSON string as its text. */
  static Object parseEvent(String event, Type type) {
    boolean asText = type == String.class && !event.stripLeading().startsWith("\"");
    return asText ? event : GSON.fromJson(event, type);
  }

  /** Throws RuntimeException for what JSON has no form of, and StackOverflowError for a value that contains itself. */
  static void write(Object value, Writer out) {
    try {
      JsonWriter writer = GSON.newJsonWriter(out);
      // Gson's own toJson makes the writer lenient: it would take NaN within a JsonElement.
      writer.setLenient(false);
      if (value == null) {
        writer.nullValue();
      } else {
        @SuppressWarnings("unchecked")
        TypeAdapter<Object> adapter = (TypeAdapter<Object>) GSON.getAdapter(value.getClass());
        adapter.write(writer, value);
      }
      writer.flush();
    } catch (IOException impossible) {
      throw new IllegalStateException(impossible);
    }
  }

  /** Numbers of untyped events: whole ones stay whole (Gson would make a Double of each), and none loses digits to infinity. */
  private static Number readNumber(JsonReader in) throws IOException {
    String text = in.nextString();
    if (text.indexOf('.') < 0 && text.indexOf('e') < 0 && text.indexOf('E') < 0) {
      try {
        return Long.valueOf(text);
      } catch (NumberFormatException tooLong) {
        return new BigInteger(text);
      }
    }
    double value = Double.parseDouble(text);
    return Double.isInfinite(value) ? new BigDecimal(text) : (Number) value;
  }
}

package workerfront;

import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.TypeAdapter;
import com.google.gson.TypeAdapterFactory;
import com.google.gson.reflect.TypeToken;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonWriter;
import java.io.IOException;
import java.util.Collection;
import java.util.Map;

/**
 * Which nulls of a result are written: those in maps and JSON elements, which were put there, so that an event comes back as it was;
 * not those of fields (Gson has one switch for both).
 */
final class Nulls implements TypeAdapterFactory {
  @Override
  public <T> TypeAdapter<T> create(Gson gson, TypeToken<T> token) {
    Class<? super T> type = token.getRawType();
    boolean keep = Map.class.isAssignableFrom(type) || JsonElement.class.isAssignableFrom(type);
    boolean other = type.isPrimitive() || type.isArray() || type.isEnum() || type.getName().startsWith("java.")
        || Collection.class.isAssignableFrom(type);
    return !keep && other ? null : new Switching<>(gson.getDelegateAdapter(this, token), keep);
  }

  private static final class Switching<T> extends TypeAdapter<T> {
    private final TypeAdapter<T> adapter;
    private final boolean keep;

    Switching(TypeAdapter<T> adapter, boolean keep) {
      this.adapter = adapter;
      this.keep = keep;
    }

    @Override
    public void write(JsonWriter out, T value) throws IOException {
      if (value == null) {
        out.nullValue();
        return;
      }
      boolean before = out.getSerializeNulls();
      out.setSerializeNulls(keep);
      adapter.write(out, value);
      out.setSerializeNulls(before);
    }

    @Override
    public T read(JsonReader in) throws IOException {
      return adapter.read(in);
    }
  }
}

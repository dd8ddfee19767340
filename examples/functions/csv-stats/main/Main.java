package main;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import java.io.IOException;
import java.io.StringReader;
import java.io.UncheckedIOException;
import java.util.LinkedHashMap;
import java.util.Map;
import lalb.Response;
import org.apache.commons.csv.CSVFormat;
import org.apache.commons.csv.CSVParser;
import org.apache.commons.csv.CSVRecord;
import org.apache.commons.csv.DuplicateHeaderMode;

/** Tells of each column of a CSV text how many values it has, and of numbers their minimum, maximum and mean. */
public class Main {
  private static final Gson GSON = new GsonBuilder().disableHtmlEscaping().create();
  private static final CSVFormat FORMAT =
      CSVFormat.RFC4180
          .builder()
          .setHeader()
          .setSkipHeaderRecord(true)
          .setIgnoreEmptyLines(true)
          .setDuplicateHeaderMode(DuplicateHeaderMode.DISALLOW)
          .build();

  public static Response lambda_handler(Map<String, Object> event) {
    if (event == null || !(event.get("csv") instanceof String text)) {
      return badRequest("'csv' has to be a string");
    }
    try (CSVParser parser = CSVParser.parse(new StringReader(text), FORMAT)) {
      Map<String, Column> columns = new LinkedHashMap<>();
      parser.getHeaderNames().forEach(name -> columns.put(name, new Column()));
      for (CSVRecord row : parser) {
        if (!row.isConsistent()) {
          return badRequest("record " + row.getRecordNumber() + " has " + row.size() + " fields, the header has "
              + columns.size());
        }
        columns.forEach((name, column) -> column.add(row.get(name)));
      }
      Map<String, Object> body = new LinkedHashMap<>();
      body.put("rows", parser.getRecordNumber());
      body.put("columns", columns);
      return new Response(200, GSON.toJson(body));
    } catch (IOException | UncheckedIOException | IllegalArgumentException | IllegalStateException error) {
      return badRequest("'csv' cannot be read: " + error.getMessage());
    }
  }

  private static Response badRequest(String message) {
    return new Response(400, GSON.toJson(Map.of("error", message)));
  }

  /** Becomes JSON field by field; null fields are left out. */
  private static final class Column {
    private int values;
    private int numbers;
    private Double min;
    private Double max;
    private Double mean;

    void add(String text) {
      if (text.isBlank()) {
        return;
      }
      values++;
      double number;
      try {
        number = Double.parseDouble(text.trim());
      } catch (NumberFormatException notANumber) {
        return;
      }
      if (!Double.isFinite(number)) {
        return;
      }
      numbers++;
      min = min == null ? number : Math.min(min, number);
      max = max == null ? number : Math.max(max, number);
      mean = mean == null ? number : mean + (number - mean) / numbers;
    }
  }
}

package main;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import java.util.ArrayDeque;
import java.util.BitSet;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.Map;
import lalb.Response;

/** Counts the prime numbers up to a limit with the sieve of Eratosthenes, and gives the last ones. */
public class Main {
  private static final Gson GSON = new GsonBuilder().disableHtmlEscaping().create();
  private static final int MAX_LIMIT = 50_000_000;
  private static final int MAX_LAST = 1000;

  public static Response lambda_handler(Map<String, Object> event) {
    Integer limit = event == null ? null : wholeNumber(event.getOrDefault("limit", 1000));
    if (limit == null || limit < 0 || limit > MAX_LIMIT) {
      return badRequest("'limit' has to be a whole number from 0 to " + MAX_LIMIT);
    }
    Integer last = wholeNumber(event.getOrDefault("last", 1));
    if (last == null || last < 0 || last > MAX_LAST) {
      return badRequest("'last' has to be a whole number from 0 to " + MAX_LAST);
    }

    BitSet composite = sieve(limit);
    int count = Math.max(0, limit - 1) - composite.cardinality();
    Map<String, Object> body = new LinkedHashMap<>();
    body.put("limit", limit);
    body.put("count", count);
    body.put("last", lastPrimes(composite, limit, last));
    return new Response(200, GSON.toJson(body));
  }

  /** Bit n is set when n, from 2 to the limit, has a divisor. */
  private static BitSet sieve(int limit) {
    BitSet composite = new BitSet(limit + 1);
    for (int n = 2; (long) n * n <= limit; n++) {
      if (composite.get(n)) {
        continue;
      }
      for (long multiple = (long) n * n; multiple <= limit; multiple += n) {
        composite.set((int) multiple);
      }
    }
    return composite;
  }

  private static Deque<Integer> lastPrimes(BitSet composite, int limit, int wanted) {
    Deque<Integer> primes = new ArrayDeque<>();
    for (int n = limit; n >= 2 && primes.size() < wanted; n--) {
      if (!composite.get(n)) {
        primes.addFirst(n);
      }
    }
    return primes;
  }

  /** Takes numbers, and digits in a string as they come from query parameters; null for anything else. */
  private static Integer wholeNumber(Object value) {
    try {
      double number = Double.parseDouble(String.valueOf(value));
      return number == Math.rint(number) && Math.abs(number) <= Integer.MAX_VALUE ? (int) number : null;
    } catch (NumberFormatException notANumber) {
      return null;
    }
  }

  private static Response badRequest(String message) {
    return new Response(400, GSON.toJson(Map.of("error", message)));
  }
}

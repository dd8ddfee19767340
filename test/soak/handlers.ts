// One handler in three languages. It notes the nonce of every call that begins in /tmp/began, does what the event says,
// and answers {name, number, nonce, padding}.

/** Where a handler notes the nonces of calls that have begun, one a line. */
export const BEGAN = '/tmp/began';

export const PYTHON = `
import os, time
NAME = "@NAME@"
NUMBER = @NUMBER@

def lambda_handler(event, context):
    nonce, do = event["nonce"], event["do"]
    with open("${BEGAN}", "a") as file:
        file.write(nonce + "\\n")
    print("begin", nonce)
    if do == "throw":
        raise ValueError(nonce)
    if do == "exit":
        os._exit(7)
    if do == "memory":
        held = []
        while True:
            held.append(bytearray(b"x" * 1000000))
    if do == "hang":
        while True:
            time.sleep(1)
    if do == "print":
        for _ in range(event["lines"]):
            print("x" * 1000)
    time.sleep(event["ms"] / 1000)
    return {"name": NAME, "number": NUMBER, "nonce": nonce, "padding": event["padding"]}
`;

export const NODE = `
const fs = require('node:fs');
const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
exports.handle = async (event) => {
  const { nonce } = event;
  fs.appendFileSync('${BEGAN}', nonce + '\\n');
  console.log('begin', nonce);
  if (event.do === 'throw') throw new Error(nonce);
  if (event.do === 'exit') process.exit(7);
  if (event.do === 'memory') for (const held = []; ; ) held.push(Buffer.alloc(1000000, 1));
  if (event.do === 'hang') for (;;) await later(1000);
  if (event.do === 'print') for (let line = 0; line < event.lines; line++) console.log('x'.repeat(1000));
  await later(event.ms);
  return { name: '@NAME@', number: @NUMBER@, nonce, padding: event.padding };
};
`;

export const JAVA = `
package main;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

public class Main {
  static int numberOf(Map<String, Object> event, String key) {
    return ((Number) event.get(key)).intValue();
  }

  public static Object lambda_handler(Map<String, Object> event) throws Exception {
    String nonce = (String) event.get("nonce");
    String what = (String) event.get("do");
    Files.writeString(Path.of("${BEGAN}"), nonce + "\\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    System.out.println("begin " + nonce);
    if ("throw".equals(what)) throw new IllegalStateException(nonce);
    if ("exit".equals(what)) System.exit(7);
    if ("memory".equals(what)) {
      List<byte[]> held = new ArrayList<>();
      while (true) held.add(new byte[1_000_000]);
    }
    while ("hang".equals(what)) Thread.sleep(1000);
    if ("print".equals(what)) for (int line = 0; line < numberOf(event, "lines"); line++) System.out.println("x".repeat(1000));
    Thread.sleep(numberOf(event, "ms"));
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("name", "@NAME@");
    result.put("number", @NUMBER@);
    result.put("nonce", nonce);
    result.put("padding", event.get("padding"));
    return result;
  }
}
`;

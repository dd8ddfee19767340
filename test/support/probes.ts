import type { ZipEntries } from './zip.ts';

/** What a probe sees before it leaves its own traces. */
export interface Seen {
  pid: number;
  /** Calls that this process has seen before. */
  count: number;
  /** An environment variable (Java: a system property) of an earlier call. */
  left: string | null;
  tmp: string[];
  /** Descriptors on a file that an earlier call has opened. */
  open: number;
  /** Child processes of earlier calls. */
  children: number;
  /** When the handler was loaded, in seconds since 1970. */
  loaded: number;
}

/**
 * Functions that look for traces of earlier calls and leave some of every kind; with `do`: `meet` waits until `n` calls
 * are inside at once, `hang` never returns, `since` tells for how many seconds one has hung, `outlive` waits for that.
 */
export function probe(language: 'python' | 'node' | 'java', manifest: Record<string, unknown>): ZipEntries {
  const [environment, file, code] = PROBES[language];
  return { 'config.json': JSON.stringify({ environment, ...manifest }), [file]: code };
}

const PYTHON = `
import os, subprocess, threading, time
loaded = time.time()
lock = threading.Lock()
state = {"count": 0, "inside": 0, "hung": None, "met": False}
held = []

def processes():
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                yield open(f"/proc/{name}/cmdline").read().split("\\0")
            except OSError:
                pass

def links():
    for fd in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            pass

def lambda_handler(event, context):
    do = event.get("do")
    if do == "hang":
        state["hung"] = time.time()
        while True:
            time.sleep(1)
    if do == "since":
        return None if state["hung"] is None else time.time() - state["hung"]
    if do == "outlive":
        while time.time() - state["hung"] < event["seconds"]:
            time.sleep(0.05)
        return os.getpid()
    if do == "meet":
        with lock:
            state["inside"] += 1
            state["met"] = state["met"] or state["inside"] == event["n"]
        while not state["met"]:
            time.sleep(0.01)
        return os.getpid()
    seen = {
        "pid": os.getpid(), "count": state["count"], "left": os.environ.get("LEFT"), "tmp": os.listdir("/tmp"),
        "open": sum("/tmp/held" in link for link in links()),
        "children": sum(words[:2] == ["sleep", "1000"] for words in processes()), "loaded": loaded,
    }
    state["count"] += 1
    os.environ["LEFT"] = "x"
    open("/tmp/left", "w").close()
    held.append(open("/tmp/held", "w"))
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    return seen
`;

const NODE = `
const fs = require('node:fs');
const { spawn } = require('node:child_process');
const loaded = Date.now() / 1000;
const state = { count: 0, inside: 0, hung: null, met: false };
const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const read = (path) => { try { return fs.readFileSync(path, 'utf8'); } catch { return ''; } };
const link = (path) => { try { return fs.readlinkSync(path); } catch { return ''; } };
const now = () => Date.now() / 1000;
exports.handle = async (event) => {
  if (event.do === 'hang') { state.hung = now(); return new Promise(() => {}); }
  if (event.do === 'since') return state.hung === null ? null : now() - state.hung;
  if (event.do === 'outlive') { while (now() - state.hung < event.seconds) await later(50); return process.pid; }
  if (event.do === 'meet') {
    state.inside += 1;
    state.met ||= state.inside === event.n;
    while (!state.met) await later(10);
    return process.pid;
  }
  const seen = {
    pid: process.pid, count: state.count, left: process.env.LEFT ?? null, tmp: fs.readdirSync('/tmp'),
    open: fs.readdirSync('/proc/self/fd').filter((fd) => link('/proc/self/fd/' + fd).includes('/tmp/held')).length,
    children: fs.readdirSync('/proc').filter((pid) => read('/proc/' + pid + '/cmdline').startsWith('sleep\\0001000')).length,
    loaded,
  };
  state.count += 1;
  process.env.LEFT = 'x';
  fs.writeFileSync('/tmp/left', '');
  fs.openSync('/tmp/held', 'w');
  await new Promise((resolve) => spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' }).once('spawn', resolve));
  return seen;
};
`;

const JAVA = `
package main;

import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

public class Main {
  static final double LOADED = now();
  static final List<Object> HELD = new ArrayList<>();
  static int count;
  static int inside;
  static volatile boolean met;
  static volatile double hung;

  static double now() { return System.currentTimeMillis() / 1000.0; }

  static List<Path> list(String folder) throws IOException {
    try (Stream<Path> all = Files.list(Path.of(folder))) { return all.collect(Collectors.toList()); }
  }

  static boolean opened(Path fd) {
    try { return Files.readSymbolicLink(fd).toString().contains("/tmp/held"); } catch (IOException gone) { return false; }
  }

  static boolean sleeps(Path process) {
    try { return Files.readString(process.resolve("cmdline")).startsWith("sleep\\0001000"); } catch (IOException gone) { return false; }
  }

  public static Object lambda_handler(Map<String, Object> event) throws Exception {
    String what = (String) event.get("do");
    long pid = ProcessHandle.current().pid();
    if ("hang".equals(what)) {
      hung = now();
      while (true) { try { Thread.sleep(1000); } catch (InterruptedException ignored) { } }
    }
    if ("since".equals(what)) return hung == 0 ? null : (Object) (now() - hung);
    if ("outlive".equals(what)) {
      double seconds = ((Number) event.get("seconds")).doubleValue();
      while (now() - hung < seconds) Thread.sleep(50);
      return pid;
    }
    if ("meet".equals(what)) {
      synchronized (HELD) {
        inside += 1;
        met |= inside == ((Number) event.get("n")).intValue();
      }
      while (!met) Thread.sleep(10);
      return pid;
    }
    Map<String, Object> seen = new LinkedHashMap<>();
    seen.put("pid", pid);
    seen.put("count", count);
    seen.put("left", System.getProperty("left"));
    seen.put("tmp", list("/tmp").stream().map(path -> path.getFileName().toString()).collect(Collectors.toList()));
    seen.put("open", list("/proc/self/fd").stream().filter(Main::opened).count());
    seen.put("children", list("/proc").stream().filter(Main::sleeps).count());
    seen.put("loaded", LOADED);
    count += 1;
    System.setProperty("left", "x");
    Files.writeString(Path.of("/tmp/left"), "");
    HELD.add(new FileOutputStream("/tmp/held"));
    new ProcessBuilder("sleep", "1000").start();
    return seen;
  }
}
`;

const PROBES = {
  python: ['python3.11', 'main.py', PYTHON],
  node: ['nodejs20', 'index.js', NODE],
  java: ['java17', 'main/Main.java', JAVA],
} as const;

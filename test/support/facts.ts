import type { ZipEntries } from './zip.ts';

/** What a function can find out about the place where it runs; values are words of a shell. */
export type Facts = Record<string, string>;

/** Prints `name=value` lines. A value is what may not differ between a sandbox from an image and one from a stem. */
const SCRIPT = `
say() { printf '%s=%s\\n' "$1" "$2"; }
first() { cat "$@" 2>/dev/null | head -n 1; }
try() { "$@" 2>/dev/null && echo done || echo refused; }
say cwd "$(pwd)"
say id "$(id -u):$(id -g):$(id -G)"
say umask "$(umask)"
say hostname "$(cat /proc/sys/kernel/hostname)"
say environment "$(env | grep -vE '^(PWD|OLDPWD|SHLVL|_)=' | sort | tr '\\n' ' ')"
say files "$(find /function/code -printf '%P:%M:%U:%G ' | tr ' ' '\\n' | sort | tr '\\n' ' ')"
say installed "$(find /function -mindepth 1 -maxdepth 2 -not -path '/function/code*' -printf '%P:%M:%U:%G ' | tr ' ' '\\n' | sort | tr '\\n' ' ')"
say memory "$(first /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max)"
say swap "$(first /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes /sys/fs/cgroup/memory.swap.max)"
say cpus "$(first /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max)"
say pids "$(first /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max)"
say tmp "$(df -k --output=size /tmp | tail -n 1 | tr -d ' ')"
say shm "$(df -k --output=size /dev/shm | tail -n 1 | tr -d ' ')"
say limits "$(ulimit -n) $(ulimit -c)"
say capabilities "$(grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t' | tr '\\n' ' ')"
say interfaces "$(ls /sys/class/net | tr '\\n' ' ')"
say init "$(ls -ln /proc/1/exe 2>/dev/null | wc -l)"
for path in /function/code /function /opt/worker-front /etc / /var/tmp /run/worker-front /dev/shm /tmp; do
  say "write $path" "$(try touch "$path/written")"
done
say "change own code" "$(try sh -c 'echo >> /function/code/config.json')"
`;

/** Functions that tell the facts, or eat memory: `do` is `eat`, `eat-in-child` or `fill`. */
export function facts(
  language: 'python' | 'node' | 'java',
  manifest: Record<string, unknown>,
  more: ZipEntries = {},
): ZipEntries {
  const [environment, file, code] = FUNCTIONS[language];
  return {
    'config.json': JSON.stringify({ environment, ...manifest }),
    [file]: code,
    'facts.sh': SCRIPT,
    'data/deep/er.txt': 'x',
    ...more,
  };
}

const EAT_IN_CHILD = 'head -c 1000000000 /dev/zero | tail -n 1 | wc -c';
const FILL = 'cat /dev/zero > /tmp/full';

const PYTHON = `
import os, subprocess, sys
def sh(*words):
    return subprocess.run(["sh", *words], capture_output=True, text=True)

def lambda_handler(event, context):
    do = event.get("do")
    if do == "eat":
        kept = []
        while True:
            kept.append(bytearray(8 * 2 ** 20))
    if do == "eat-in-child":
        return sh("-c", "${EAT_IN_CHILD}").returncode
    if do == "fill":
        return [sh("-c", "${FILL}").stderr, os.stat("/tmp/full").st_size]
    if do == "import":
        module = __import__(event["name"])
        return module.__file__
    facts = dict(line.split("=", 1) for line in sh("facts.sh").stdout.splitlines())
    facts["own file"] = __file__
    facts["path"] = " ".join(sys.path)
    facts["memory of context"] = str(context.memory_limit_in_mb)
    return facts
`;

const NODE = `
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const v8 = require('node:v8');
const sh = (...words) => spawnSync('sh', words, { encoding: 'utf8' });
exports.handle = (event, context) => {
  if (event.do === 'eat') { const kept = []; for (;;) kept.push(Buffer.alloc(8 * 2 ** 20, 1)); }
  if (event.do === 'eat-in-child') return sh('-c', '${EAT_IN_CHILD}').status;
  if (event.do === 'fill') return [sh('-c', '${FILL}').stderr, fs.statSync('/tmp/full').size];
  if (event.do === 'import') return require.resolve(event.name);
  const lines = sh('facts.sh').stdout.trim().split('\\n');
  return {
    ...Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)])),
    'own file': __filename,
    path: require.resolve.paths('x').join(' '),
    'memory of context': String(context.memoryLimitInMB),
    heap: String(Math.round(v8.getHeapStatistics().heap_size_limit / 2 ** 20)),
  };
};
`;

const JAVA = `
package main;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

public class Main {
  static final List<Object> KEPT = new ArrayList<>();

  static Process sh(String... words) throws Exception {
    List<String> command = new ArrayList<>(List.of("sh"));
    command.addAll(List.of(words));
    return new ProcessBuilder(command).start();
  }

  public static Object lambda_handler(Map<String, Object> event) throws Exception {
    String what = (String) event.get("do");
    if ("eat".equals(what)) while (true) KEPT.add(new byte[8 << 20]);
    if ("eat-in-child".equals(what)) return sh("-c", "${EAT_IN_CHILD}").waitFor();
    if ("fill".equals(what)) {
      Process fill = sh("-c", "${FILL}");
      String words = new String(fill.getErrorStream().readAllBytes());
      return List.of(words, Files.size(Path.of("/tmp/full")));
    }
    Map<String, Object> facts = new LinkedHashMap<>();
    String text = new String(sh("facts.sh").getInputStream().readAllBytes());
    for (String line : text.split("\\n")) {
      int at = line.indexOf('=');
      facts.put(line.substring(0, at), line.substring(at + 1));
    }
    facts.put("own file", Main.class.getProtectionDomain().getCodeSource().getLocation().getPath());
    facts.put("heap", String.valueOf(Runtime.getRuntime().maxMemory() >> 20));
    facts.put("processors", String.valueOf(Runtime.getRuntime().availableProcessors()));
    return facts;
  }
}
`;

const FUNCTIONS = {
  python: ['python3.11', 'main.py', PYTHON],
  node: ['nodejs20', 'index.js', NODE],
  java: ['java17', 'main/Main.java', JAVA],
} as const;

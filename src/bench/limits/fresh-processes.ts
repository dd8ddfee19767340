import { once } from 'node:events';
import { join } from 'node:path';
import type { ImageRoot } from './image-root.ts';

/** A program in the function's image, run outside of any container. */
export interface FreshProcesses {
  name: string;
  command: string[];
  file: string;
  code: string;
}

/** What a language can do at most: a fresh loaded process per answer, and nothing around it. Arguments: seconds, parallelism; prints the rate. */
export const BARE: Record<'python' | 'nodejs', FreshProcesses> = {
  python: {
    command: ['python3', '/limit.py'],
    name: 'bare forks',
    file: 'limit.py',
    code: `import os, sys, time
seconds, parallel = float(sys.argv[1]), int(sys.argv[2])
end = time.monotonic() + seconds
began, count, running = time.monotonic(), 0, 0
def handler(event, context):
    return {"statusCode": 200, "body": "ok"}
while True:
    while running < parallel and time.monotonic() < end:
        pid = os.fork()
        if pid == 0:
            handler({}, None)
            os._exit(0)
        running += 1
    if running == 0:
        break
    os.wait()
    running -= 1
    count += 1
print(count / (time.monotonic() - began))
`,
  },
  nodejs: {
    command: ['node', '/limit.cjs'],
    name: 'bare processes',
    file: 'limit.cjs',
    code: `const { spawn } = require('node:child_process');
const [seconds, parallel] = process.argv.slice(2).map(Number);
const began = performance.now();
let count = 0;
const one = () => new Promise((resolve) => spawn(process.execPath, ['-e', 'require("/function/code/index.js").handle({})'], { stdio: 'ignore' }).on('exit', resolve));
const client = async () => {
  while (performance.now() - began < seconds * 1000) {
    await one();
    count += 1;
  }
};
Promise.all(Array.from({ length: parallel }, client)).then(() => console.log((count * 1000) / (performance.now() - began)));
`,
  },
};

/** Bare forks that say something: lines of id and event come in, lines of id and result go out (`fork-server.ts`). */
export const FORKS: FreshProcesses = {
  command: ['python3', '/forks.py'],
  name: 'bare forks behind Fastify',
  file: 'forks.py',
  code: `import json, os, signal, sys
sys.path.insert(0, "/function/code")
from main import lambda_handler
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin.buffer:
    if os.fork() == 0:
        number, event = line.split(b" ", 1)
        os.write(1, number + b" " + json.dumps(lambda_handler(json.loads(event), None)).encode() + b"\\n")
        os._exit(0)
`,
};

/** Fresh processes per second at one parallelism. */
export async function freshPerSecond(
  root: ImageRoot,
  { command }: FreshProcesses,
  seconds: number,
  parallel: number,
): Promise<number> {
  const child = root.run([...command, String(seconds), String(parallel)]);
  const said: Buffer[] = [];
  child.stdout!.on('data', (chunk: Buffer) => said.push(chunk));
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`${join(root.dir, command[1]!)} ended with ${code}`);
  return Number(Buffer.concat(said).toString());
}

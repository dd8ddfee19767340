import http from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BEGAN } from '../soak/handlers.ts';
import { Sandboxes } from '../soak/sandboxes.ts';
import { precompiled } from '../support/java.ts';
import { eventually, NO_NETWORK, startNode, type TestNode } from '../support/node.ts';
import type { ZipEntries } from '../support/zip.ts';

// Callers that go away.

/** Functions that say when they begin, when they are told to end, and when they have ended by themselves. */
const CODE = {
  python: [
    'python3.11',
    'main.py',
    `
import os, signal, time
def stop(*_):
    os.write(1, b"told\\n")
    os._exit(0)
def lambda_handler(event, context):
    signal.signal(signal.SIGTERM, stop)
    print("begun", flush=True)
    with open("${BEGAN}", "a") as notes:
        notes.write(event.get("mark", "") + "\\n")
    time.sleep(event.get("seconds", 0))
    print("ended", flush=True)
    return 1
`,
  ],
  node: [
    'nodejs20',
    'index.js',
    `
exports.handle = async (event) => {
  process.once('SIGTERM', () => {
    process.stdout.write('told\\n', () => process.exit(0));
  });
  console.log('begun');
  require('node:fs').appendFileSync('${BEGAN}', (event.mark ?? '') + '\\n');
  await new Promise((resolve) => setTimeout(resolve, (event.seconds ?? 0) * 1000));
  console.log('ended');
  return 1;
};`,
  ],
  java: [
    'java17',
    'main/Main.java',
    `
package main;
import java.util.Map;
public class Main {
  public static int lambda_handler(Map<String, Object> event) throws Exception {
    Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("told")));
    System.out.println("begun");
    try (var notes = new java.io.FileWriter("${BEGAN}", true)) {
      notes.write(event.getOrDefault("mark", "") + "\\n");
    }
    Thread.sleep((long) (((Number) event.getOrDefault("seconds", 0)).doubleValue() * 1000));
    System.out.println("ended");
    return 1;
  }
}`,
  ],
} as const;
const LANGUAGES = ['python', 'node', 'java'] as const;
const ISOLATIONS = ['container', 'process', 'shared'] as const;
const CELLS = LANGUAGES.flatMap((language) => ISOLATIONS.map((isolation) => [language, isolation] as const));

function code(language: keyof typeof CODE, manifest: object): ZipEntries {
  const [environment, file, text] = CODE[language];
  return { 'config.json': JSON.stringify({ environment, ...NO_NETWORK, ...manifest }), [file]: text };
}

let node: TestNode;

beforeAll(async () => {
  const java = await precompiled(code('java', {}));
  const cells = CELLS.map(([language, isolation]) => {
    const files = code(language, { isolation, cancelOnDisconnect: true });
    const { 'config.json': manifest = '' } = files;
    return [`${language}-${isolation}`, language === 'java' ? { ...java, 'config.json': manifest } : files];
  });
  node = await startNode(
    {
      ...(Object.fromEntries(cells) as Record<string, ZipEntries>),
      stays: code('python', { isolation: 'shared', maxSandboxes: 1 }),
    },
    { CANCEL_GRACE: '30', REST_CONTAINER_LIFE_TIME: '60' },
  );
});
afterAll(() => node?.stop());

/** Resolves when so many sandboxes of a function serve a call. */
const busy = (name: string, count: number) =>
  eventually(
    () => node.inState('busy', name),
    (found) => found === count,
  );

/** Resolves when the handler of a call has said what it does at SIGTERM. Only root can see that. */
async function begun(requestId: string): Promise<void> {
  const sandboxes = new Sandboxes(node.daemon.node);
  await eventually(
    () => sandboxes.running(),
    (all) => sandboxes.blind || all.some(({ begun: notes }) => notes.includes(requestId)),
  );
}

/** A call whose caller can go away; \`ended\`: the daemon has written its line. */
function call(name: string, seconds: number, requestId: string) {
  const request = http.request(`${node.daemon.url}/execute?name=${name}`, {
    method: 'POST',
    headers: { 'x-request-id': requestId },
  });
  request.on('error', () => undefined);
  request.end(JSON.stringify({ seconds, mark: requestId }));
  const line = node.daemon.logged((one) => one['requestId'] === requestId && one['status'] !== undefined);
  const ended = async () => {
    const { id } = (await line) as { id: string };
    return eventually(
      async () => (await node.get(`/invocations/${id}`)).body,
      ({ State: state }) => state !== 'running',
    );
  };
  return { leave: () => request.destroy(), line, ended };
}

const textOf = (record: Record<string, unknown>) =>
  ((record['Output'] as { Chunks: { Text: string }[] } | null)?.Chunks ?? []).map(({ Text: text }) => text).join('');

describe.concurrent.each(CELLS)('%s, isolation %s', (language, isolation) => {
  test('a running call is told when its caller goes away, and stopped', async () => {
    const name = `${language}-${isolation}`;
    const before = await node.ok(name, {});
    const gone = call(name, 600, `gone-${name}`);
    await begun(`gone-${name}`);
    gone.leave();
    expect(await gone.line).toMatchObject({ status: 499, function: name });
    const record = await gone.ended();
    expect(record).toMatchObject({ State: 'failed', Code: 'cancelled' });
    // Where calls share the process, the handler of an earlier call says it too.
    expect(textOf(record)).toMatch(isolation === 'shared' ? /^begun\n(told\n)+$/ : /^begun\ntold\n$/);
    await busy(name, 0);
    const after = await node.ok(name, {});
    // The process of a call is nobody else's: the sandbox serves on.
    if (isolation === 'process') expect(after.meta.ContainerName).toBe(before.meta.ContainerName);
    else expect(after.meta.ContainerName).not.toBe(before.meta.ContainerName);
  });
});

test('a call that waits leaves the queue at once; one that runs without cancelOnDisconnect goes on', async () => {
  await node.ok('stays', {});
  const running = call('stays', 3, 'runs');
  await busy('stays', 1);
  const waiting = Array.from({ length: 5 }, (_, index) => call('stays', 0, `waits-${index}`));
  await eventually(
    () => node.metric('worker_front_queue_length'),
    (length) => length === 5,
  );
  for (const { leave } of waiting) leave();
  running.leave();
  await eventually(
    () => node.metric('worker_front_queue_length'),
    (length) => length === 0,
  );
  // That was long before the one in front of them has ended.
  expect(await node.inState('busy')).toBe(1);
  for (const { ended } of waiting) {
    const record = await ended();
    expect(record).toMatchObject({ State: 'failed', Code: 'cancelled', Meta: null });
  }
  const record = await running.ended();
  expect(record).toMatchObject({ State: 'succeeded' });
  expect(textOf(record)).toBe('begun\nended\n');
});

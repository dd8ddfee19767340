import type { Readable } from 'node:stream';
import tar from 'tar-stream';
import type { ContainerEngine, EngineEvent, EngineEventKind } from '../../src/containers/engine.ts';
import type { FakeEngineOptions } from '../../src/containers/fake/types.ts';
import type { ContainerSpec } from '../../src/containers/spec.ts';

/** What the suite needs of an engine under test. */
export interface EngineHarness {
  engine: ContainerEngine;
  /** An image with a shell. */
  image: string;
  /** Carried by everything that the suite makes. */
  labels: Record<string, string>;
  /** A further engine object of the same kind. */
  connect(): ContainerEngine;
  /** Removes whatever carries the labels. */
  close(): Promise<void>;
}

/** What runs in the suite's containers: for the shell of a real one, and for `fakePrograms`. */
export const COMMANDS = {
  forever: ['sleep', '600'],
  fails: ['sh', '-c', 'echo to stdout; echo to stderr >&2; exit 3'],
  chatty: ['sh', '-c', 'i=0; while [ $i -lt 200 ]; do echo "line $i é"; i=$((i+1)); done'],
  missing: ['/does/not/exist'],
  /** Says which network namespace it is in. */
  network: ['sh', '-c', 'readlink /proc/self/ns/net; exec sleep 600'],
} as const;

/** A file that every image of the suite has. */
export const KNOWN_FILE = '/etc/debian_version';

export const DOCKERFILES = {
  good: (image: string, marker = 'good') => `FROM ${image}\nENV MARKER=${marker}\n`,
  unparsable: () => 'FRM nothing\n',
  failing: (image: string) =>
    `FROM ${image}\nRUN i=0; while [ $i -lt 60 ]; do echo "step $i"; i=$((i+1)); done; exit 7\n`,
  /** Labelled first, so that its build container can be found by the label. */
  endless: (image: string, label: string) => `FROM ${image}\nLABEL ${label}\nRUN echo begun && sleep 600\n`,
};

/** The same programs for the fake engine. */
export const fakePrograms: NonNullable<FakeEngineOptions['onStart']> = (container) => {
  container.files.set(KNOWN_FILE, '12.0\n');
  const command = container.spec.command?.join(' ');
  if (command === COMMANDS.missing.join(' ')) throw new Error('exec: "/does/not/exist": no such file or directory');
  if (command === COMMANDS.network.join(' ')) container.print(`net:[${container.spec.joins ?? container.id}]\n`);
  if (command === COMMANDS.fails.join(' ')) {
    container.print('to stdout\nto stderr\n');
    container.exit(3);
  }
  if (command === COMMANDS.chatty.join(' ')) {
    for (let i = 0; i < 200; i += 1) container.print(`line ${i} é\n`);
    container.exit(0);
  }
};

export const fakeBuilds: NonNullable<FakeEngineOptions['onBuild']> = async (build) => {
  build.print('Step 1 : FROM');
  if (build.dockerfile === DOCKERFILES.unparsable()) throw new Error('parse error line 1: unknown instruction: FRM');
  if (build.dockerfile.includes('exit 7')) {
    for (let i = 0; i < 60; i += 1) build.print(`step ${i}`);
    throw new Error('The command returned a non-zero code: 7');
  }
  if (build.dockerfile.includes('sleep 600')) {
    build.print('begun');
    await new Promise((_, reject) => {
      build.signal.addEventListener('abort', () => reject(build.signal.reason), { once: true });
    });
  }
};

/** A small harmless container of the run. */
export function makeSpec(harness: EngineHarness, name: string, more: Partial<ContainerSpec> = {}): ContainerSpec {
  return {
    name,
    image: harness.image,
    user: '1000:1000',
    command: [...COMMANDS.forever],
    env: { GREETING: 'hello' },
    labels: harness.labels,
    mounts: [],
    limits: { memoryBytes: 64 * 1024 * 1024, cpus: 1, pids: 32 },
    tmpBytes: 8 * 1024 * 1024,
    network: 'none',
    ...more,
  };
}

/** A build context of these files. */
export function makeContext(files: Record<string, string>): Readable {
  const pack = tar.pack();
  for (const [name, content] of Object.entries(files)) pack.entry({ name }, content);
  pack.finalize();
  return pack as unknown as Readable;
}

/** The rejection of a promise; fails when there is none. */
export function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error('should have failed');
    },
    (error: unknown) => error,
  );
}

/** Follows events; `next` resolves with the first one of a kind and container, whether it came already or will come. */
export async function followEvents(engine: ContainerEngine, labels: Record<string, string>) {
  const seen: EngineEvent[] = [];
  const waiters = new Set<() => void>();
  const subscription = await engine.subscribe(labels, (event) => {
    seen.push(event);
    for (const waiter of waiters) waiter();
  });
  return {
    seen,
    subscription,
    kinds: (id: string) => seen.filter((event) => event.containerId === id).map((event) => event.kind),
    next: (kind: EngineEventKind, id?: string) =>
      new Promise<EngineEvent>((resolve) => {
        const look = () => {
          const found = seen.find((event) => event.kind === kind && (id === undefined || event.containerId === id));
          if (!found) return;
          waiters.delete(look);
          resolve(found);
        };
        waiters.add(look);
        look();
      }),
  };
}

export const fakeHostCommands: NonNullable<FakeEngineOptions['onHostCommand']> = ({ command, maxOutputBytes }) => {
  const output = 'to stdout\nto stderr\n'.slice(-maxOutputBytes);
  return command.join(' ') === COMMANDS.fails.join(' ') ? { exitCode: 3, output } : { exitCode: 127, output: '' };
};

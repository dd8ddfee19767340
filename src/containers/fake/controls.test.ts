import { describe, expect, it } from 'vitest';
import { failureOf, followEvents, makeContext } from '../../../test/conformance/engine-fixtures.ts';
import type { Clock } from '../../lib/clock.ts';
import { deferred } from '../../lib/deferred.ts';
import { hasCode, WorkerFrontError } from '../../lib/errors.ts';
import type { ContainerSpec } from '../spec.ts';
import { createFakeEngine } from './engine.ts';
import type { FakeEngineOptions } from './types.ts';

const spec: ContainerSpec = {
  name: 'one',
  image: 'base:1',
  user: '1:1',
  env: {},
  labels: { node: 'n' },
  mounts: [],
  limits: { memoryBytes: 1e8, cpus: 1, pids: 10 },
  tmpBytes: 1e6,
  network: 'none',
};

async function started(options: FakeEngineOptions = {}) {
  const engine = createFakeEngine({ images: ['base:1'], ...options });
  const id = await engine.createContainer(spec);
  await engine.startContainer(id);
  return { engine, id };
}

/** A clock that stands still until it is told. */
function handClock() {
  const timers: { at: number; callback: () => void }[] = [];
  let time = 0;
  const clock: Clock = {
    now: () => time,
    after(ms, callback) {
      const timer = { at: time + ms, callback };
      timers.push(timer);
      return { cancel: () => timers.includes(timer) && timers.splice(timers.indexOf(timer), 1) };
    },
  };
  const advance = (ms: number) => {
    time += ms;
    for (const timer of timers.splice(0).filter((each) => each.at <= time || timers.push(each) < 0)) timer.callback();
  };
  return { clock, advance, timers };
}

/** Lets everything happen that needs no timer. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('what runs in a fake container', () => {
  it('is the hook, whose container prints, exits, and takes signals', async () => {
    const signals: string[] = [];
    const { engine, id } = await started({
      onStart: async (container) => container.print(`hello from ${container.spec.name}`),
      onSignal: (container, signal) => {
        signals.push(signal);
        container.exit(0);
      },
    });
    expect(await engine.containerLogs(id, 100)).toBe('hello from one');
    const { exit } = await engine.watchExit(id);
    await engine.killContainer(id, 'SIGTERM');
    expect(await exit).toEqual({ exitCode: 0 });
    expect(signals).toEqual(['SIGTERM']);
  });

  it('may start again, and each exit is its own', async () => {
    const { engine, id } = await started();
    for (const code of [1, 2]) {
      const { exit } = await engine.watchExit(id);
      engine.exit(id, code);
      expect(await exit).toEqual({ exitCode: code });
      await engine.startContainer(id);
    }
    expect(await engine.inspectContainer(id)).toMatchObject({ status: 'running', exitCode: undefined });
    expect(() => engine.exit('unknown')).toThrow(/no container/);
  });

  it('dies for memory as on Docker: the flag follows the exit', async () => {
    const { engine, id } = await started();
    const events = await followEvents(engine, { node: 'n' });
    engine.oom(id, 'child');
    expect(await engine.inspectContainer(id)).toMatchObject({ status: 'running', oomKilled: false });
    engine.setMemory(id, { peakBytes: 5 });
    expect(await engine.memoryUsage(id)).toEqual({ peakBytes: 5, oomKills: 1 });
    engine.exit(id, 0);
    expect(await engine.inspectContainer(id)).toMatchObject({ exitCode: 0, oomKilled: true });
    await engine.startContainer(id);
    engine.oom(id);
    await events.next('start');
    expect(await engine.inspectContainer(id)).toMatchObject({ exitCode: 137, oomKilled: true });
    expect(events.kinds(id)).toEqual(['oom', 'die', 'start', 'oom', 'die']);
  });
});

describe('failures of the fake engine', () => {
  it('come as often as ordered, before or after the effect', async () => {
    const engine = createFakeEngine({ images: ['base:1'] });
    const error = new WorkerFrontError('engine_unavailable', 'lost');
    engine.fail('createContainer', error, { times: 2 });
    engine.fail('createContainer', error, { when: 'after' });
    for (const containers of [0, 0, 1]) {
      expect(await failureOf(engine.createContainer(spec))).toBe(error);
      expect(engine.containers.size).toBe(containers);
    }
    expect(hasCode(await failureOf(engine.createContainer(spec)), 'conflict')).toBe(true);
    expect(engine.calls).toEqual(Array(4).fill('createContainer'));
  });

  it('of all: away and back, with its containers or without', async () => {
    const { engine, id } = await started();
    const { exit } = await engine.watchExit(id);
    const { ended } = await engine.subscribe({}, () => undefined);
    engine.goAway();
    await ended;
    expect(hasCode(await failureOf(exit), 'engine_unavailable')).toBe(true);
    for (const call of [engine.ping(), engine.removeContainer(id), engine.subscribe({}, () => undefined)]) {
      expect(hasCode(await failureOf(call), 'engine_unavailable')).toBe(true);
    }
    engine.comeBack();
    expect((await engine.inspectContainer(id))?.status).toBe('running');
    engine.goAway();
    engine.comeBack({ lost: true });
    expect(await engine.inspectContainer(id)).toMatchObject({ status: 'exited', exitCode: 137 });
  });
});

describe('time of the fake engine', () => {
  it('is the injected one, and an abort or a loss does not wait for it', async () => {
    const { clock, advance, timers } = handClock();
    const engine = createFakeEngine({ images: ['base:1'], clock, delays: { createContainer: 100 } });
    let id: string | undefined;
    const creating = engine.createContainer(spec).then((value) => {
      id = value;
    });
    await settle();
    advance(99);
    await settle();
    expect(id).toBeUndefined();
    expect(engine.containers.size).toBe(0);
    advance(1);
    await creating;
    expect(engine.containers.size).toBe(1);

    const controller = new AbortController();
    const aborted = failureOf(engine.createContainer({ ...spec, name: 'two' }, { signal: controller.signal }));
    const lost = failureOf(engine.createContainer({ ...spec, name: 'three' }));
    await settle();
    controller.abort(new Error('enough'));
    expect(String(await aborted)).toContain('enough');
    engine.goAway();
    expect(hasCode(await lost, 'engine_unavailable')).toBe(true);
    expect(engine.containers.size).toBe(1);
    expect(timers).toEqual([]);
  });
});

describe('fake builds', () => {
  it('record their context and end as the hook does', async () => {
    const engine = createFakeEngine({ onBuild: (build) => build.print('did it') });
    const lines: string[] = [];
    const options = { tag: 'a:1', onOutput: (line: string) => lines.push(line) };
    const files = { Dockerfile: 'FROM x', 'src/main.py': 'pass' };
    const id = await engine.buildImage(makeContext(files), options);
    expect(engine.builds).toMatchObject([
      { files: ['Dockerfile', 'src/main.py'], dockerfile: 'FROM x', state: 'done' },
    ]);
    expect(engine.builds[0]?.contents.get('src/main.py')?.toString()).toBe('pass');
    expect(lines).toEqual(['did it']);
    expect(await engine.buildImage(makeContext(files), { tag: 'b:1' })).toBe(id);
    expect((await engine.inspectImage(id))?.tags).toEqual(['a:1', 'b:1']);
    expect(await engine.buildImage(makeContext(files), { tag: 'c:1', noCache: true })).not.toBe(id);
  });

  it('break off when the engine goes away', async () => {
    const begun = deferred<void>();
    const engine = createFakeEngine({
      onBuild: (build) =>
        new Promise((_, reject) => {
          build.signal.addEventListener('abort', () => reject(build.signal.reason));
          begun.resolve();
        }),
    });
    const failed = failureOf(engine.buildImage(makeContext({ Dockerfile: 'FROM x' }), { tag: 'a:1' }));
    await begun.promise;
    engine.goAway();
    expect(hasCode(await failed, 'engine_unavailable')).toBe(true);
    expect(engine.builds[0]?.state).toBe('cancelled');
  });
});

it('a fake engine pulls what its registry has', async () => {
  const engine = createFakeEngine({ registry: ['library/base'] });
  await engine.pullImage('library/base:latest');
  expect((await engine.inspectImage('library/base'))?.tags).toEqual(['library/base:latest']);
  expect(String(await failureOf(engine.pullImage('library/other')))).toContain('no image');
});

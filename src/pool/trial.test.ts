import { describe, expect, it } from 'vitest';
import type { SandboxChannel } from '../channel/channel.ts';
import { deferred } from '../lib/deferred.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import { ManualClock, settle } from '../lib/manual-clock.ts';
import { type Trial, type TrialDeps, trialsOf, tryOut } from './trial.ts';

describe('trialsOf', () => {
  it.each([
    [undefined, [], 'runc', []],
    [undefined, [], undefined, []],
    [undefined, [], 'crun', []],
    [undefined, [], 'io.containerd.runc.v2', []],
    [undefined, [], 'runsc', [[undefined, 'CONTAINER_RUNTIME']]],
    ['runsc', [], 'runc', [['runsc', 'CONTAINER_RUNTIME']]],
    [
      'runc',
      ['runc', 'kata', 'kata'],
      'runc',
      [
        ['runc', 'CONTAINER_RUNTIME'],
        ['kata', 'CONTAINER_RUNTIMES_ALLOWED'],
      ],
    ],
  ] as const)('of %s and %j on an engine of %s: %j', (standard, allowed, engineDefault, wanted) => {
    const found = trialsOf(
      { standard, allowed },
      undefined,
      engineDefault === undefined ? {} : { defaultRuntime: engineDefault },
    );
    expect(found.map(({ name, setting }) => [name, setting])).toEqual(wanted);
  });

  it('tries engines that do something with users', () => {
    const none = { standard: undefined, allowed: [] };
    expect(trialsOf(none, undefined, { rootless: true })).toEqual([{ setting: 'DOCKER_HOST', users: 'rootless' }]);
    expect(trialsOf(none, undefined, { usernsRemap: true })).toEqual([{ setting: 'DOCKER_HOST', users: 'remapped' }]);
    expect(trialsOf(none, undefined, { usernsRemap: false, rootless: false })).toEqual([]);
  });

  it('tries a seccomp profile by itself, after the runtimes', () => {
    expect(trialsOf({ standard: 'second', allowed: [] }, '{}')).toEqual([
      { name: 'second', setting: 'CONTAINER_RUNTIME' },
      { name: 'second', setting: 'SECCOMP_PROFILE', seccomp: '{}' },
    ]);
  });
});

describe('tryOut', () => {
  const clock = new ManualClock();
  const check = async (how: Partial<TrialDeps['engine']> & { dialsIn?: boolean } = {}, trial: Partial<Trial> = {}) => {
    const steps: string[] = [];
    const { dialsIn = false, ...engine } = how;
    const deps: TrialDeps = {
      engine: {
        createContainer: async ({ runtime, network, image, seccomp = '' }) => (
          steps.push(`create ${runtime} ${network} ${image} ${seccomp}`.trimEnd()), 'c1'
        ),
        startContainer: async () => undefined,
        watchExit: async () => ({ exit: new Promise(() => undefined) }),
        containerLogs: async () => '',
        removeContainer: async (id) => void steps.push(`remove ${id}`),
        ...engine,
      },
      known: ['runc', 'second'],
      owner: { node: 'n' },
      image: 'i',
      openChannelFolder: async () => {
        const closed = deferred<SandboxChannel>();
        closed.promise.catch(() => undefined);
        const close = async () => void steps.push('close');
        const accept: Awaited<ReturnType<TrialDeps['openChannelFolder']>>['accept'] = ({ signal } = {}) => {
          signal?.addEventListener('abort', () => closed.reject(signal.reason));
          return dialsIn ? Promise.resolve({} as SandboxChannel) : closed.promise;
        };
        return { dir: '/run/x', token: '', accept, close, leave: close, [Symbol.asyncDispose]: close };
      },
      clock,
    };
    const result = tryOut({ name: 'second', setting: 'CONTAINER_RUNTIME', ...trial }, deps).then(
      () => undefined,
      (error: unknown) => error as WorkerFrontError,
    );
    await settle();
    return { steps, result };
  };

  it('is content when the sandbox dials in, and leaves nothing of it', async () => {
    const { steps, result } = await check({ dialsIn: true });
    expect(await result).toBeUndefined();
    expect(steps).toEqual(['create second none i', 'remove c1', 'close']);
  });

  it('asks no engine that does not know the runtime', async () => {
    const { steps, result } = await check({}, { name: 'third' });
    expect(await result).toMatchObject({ code: 'invalid_setting', details: { setting: 'CONTAINER_RUNTIME' } });
    expect((await result)?.message).toContain('no such runtime (it has runc, second)');
    expect(steps).toEqual([]);
  });

  it("tries containerd's own runtimes, which engines do not list", async () => {
    const { steps, result } = await check({ dialsIn: true }, { name: 'io.containerd.runsc.v1' });
    expect(await result).toBeUndefined();
    expect(steps[0]).toContain('io.containerd.runsc.v1');
  });

  it.each([
    [
      'one that cannot be created',
      { createContainer: async () => Promise.reject(new Error('words')) },
      'started with it: words',
    ],
    [
      'one that cannot be started',
      { startContainer: async () => Promise.reject(new Error('words')) },
      'started with it: words',
    ],
    [
      'one that ends',
      {
        watchExit: async () => ({ exit: Promise.resolve({ exitCode: 72 }) }),
        containerLogs: async () => 'not dialled\n',
      },
      "ended before it had dialled in (exit code 72: not dialled); sandboxes must be able to connect to a Unix socket of the host: gVisor's runsc needs its option --host-uds=open",
    ],
  ])('says what is wrong with %s', async (_name, how, words) => {
    const { steps, result } = await check(how);
    expect(await result).toMatchObject({ code: 'invalid_setting' });
    expect((await result)?.message).toContain(`CONTAINER_RUNTIME: 'second': a sandbox`);
    expect((await result)?.message).toContain(words);
    expect(steps.at(-1)).toBe('close');
  });

  it('says of a seccomp profile what it is about', async () => {
    const ends = { watchExit: async () => ({ exit: Promise.resolve({ exitCode: 1 }) }) };
    const { steps, result } = await check(ends, { setting: 'SECCOMP_PROFILE', seccomp: '{}' });
    expect((await result)?.message).toMatch(
      /^SECCOMP_PROFILE: a sandbox started with it ended .* denies what every sandbox needs/,
    );
    expect(steps[0]).toBe('create second none i {}');
  });

  it.each([
    [
      'rootless',
      /^DOCKER_HOST: the engine is rootless: a sandbox cannot be started with it: words; .*: run worker-front as that user/,
    ],
    [
      'remapped',
      /^DOCKER_HOST: the engine maps users \(userns-remap\): a sandbox cannot .*: words; .* runc 1.1 or later/,
    ],
  ] as const)('says of a %s engine what it needs', async (users, words) => {
    const fails = { startContainer: async () => Promise.reject(new Error('words')) };
    const { result } = await check(fails, { name: undefined, setting: 'DOCKER_HOST', users });
    expect((await result)?.message).toMatch(words);
  });

  it('gives up a sandbox that never dials in', async () => {
    const { steps, result } = await check();
    await clock.advance(60_000);
    expect((await result)?.message).toContain('did not dial in within 60 s');
    expect(steps).toContain('remove c1');
  });

  it('leaves an engine that goes away to those who wait for it', async () => {
    const gone = new WorkerFrontError('engine_unavailable', 'gone');
    const { result } = await check({ startContainer: () => Promise.reject(gone) });
    expect(await result).toBe(gone);
  });
});

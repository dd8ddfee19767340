import { expect, it } from 'vitest';
import { createFakeEngine } from '../containers/fake/engine.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import { checkBase } from './own-base.ts';

const LIMITS = { timeoutMs: 60_000 };

it('takes an image that is on this machine, without asking a registry', async () => {
  const engine = createFakeEngine({ images: ['tool:1'] });
  await checkBase('tool:1', LIMITS, engine);
  expect(engine.calls).not.toContain('pullImage');
});

it('fetches one that is not, before any build can', async () => {
  const engine = createFakeEngine({ registry: ['tool:1'] });
  await checkBase('tool:1', LIMITS, engine);
  expect((await engine.inspectImage('tool:1'))?.tags).toEqual(['tool:1']);
});

it('refuses instructions that an image brings, fetched or not', async () => {
  const engine = createFakeEngine();
  const add = () => engine.addImage('tool:1', { onBuild: ['ADD http://169.254.169.254/ /x'] });
  const refused = { code: 'invalid_function', message: expect.stringMatching(/'FROM tool:1'.*ADD http/) as string };
  engine.pullImage = async () => void add();
  await expect(checkBase('tool:1', LIMITS, engine)).rejects.toMatchObject(refused);
  await expect(checkBase('tool:1', LIMITS, engine)).rejects.toMatchObject(refused);
});

it('lets no build begin without the image that it has looked at', async () => {
  const engine = createFakeEngine();
  const failed = { code: 'build_failed', message: expect.stringContaining('FROM none:1') as string };
  const known = new WorkerFrontError('engine_unavailable', 'no registry', { details: { image: 'none:1' } });
  for (const pull of [() => Promise.resolve(), () => Promise.reject(known)]) {
    engine.pullImage = pull;
    await expect(checkBase('none:1', LIMITS, engine)).rejects.toMatchObject(failed);
  }
});

it('is ended by its signal, and says when the engine is away', async () => {
  const engine = createFakeEngine();
  const away = new WorkerFrontError('engine_unavailable', 'away');
  engine.pullImage = () => Promise.reject(away);
  await expect(checkBase('none:1', LIMITS, engine)).rejects.toBe(away);
  const ended = new Error('ended');
  engine.pullImage = (_, { signal } = {}) => Promise.reject(signal?.reason as Error);
  await expect(checkBase('none:1', { ...LIMITS, signal: AbortSignal.abort(ended) }, engine)).rejects.toBe(ended);
});

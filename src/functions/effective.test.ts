import { describe, expect, it } from 'vitest';
import { effectiveSettings, type NodeDefaults } from './effective.ts';
import type { Manifest, Network } from './manifest.ts';

const MIB = 2 ** 20;
const node: NodeDefaults = {
  isolation: null,
  usingRestMode: false,
  functionTimeout: 300,
  functionMemory: 256 * MIB,
  functionCpus: 1,
  functionPids: 128,
  maxFunctionTimeout: 900,
  maxFunctionMemory: 1024 * MIB,
  maxFunctionCpus: 4,
  functionNetwork: 'outbound',
  tmpLimit: 64 * MIB,
  responseLimit: 6 * MIB,
  logLimit: 256 * 1024,
};
const effective = (manifest: Partial<Manifest> = {}, more: Partial<NodeDefaults> = {}) =>
  effectiveSettings({ environment: 'python3.11', ...manifest }, { ...node, ...more });

describe('effectiveSettings', () => {
  it('fills in the settings of the node', () => {
    expect(effective()).toEqual({
      handler: undefined,
      isolation: 'container',
      concurrency: 1,
      maxSandboxes: undefined,
      timeoutMs: 300_000,
      memoryBytes: 256 * MIB,
      cpus: 1,
      pids: 128,
      tmpBytes: 64 * MIB,
      network: 'outbound',
      env: {},
      secrets: {},
      prewarm: 0,
      responseLimit: 6 * MIB,
      logLimit: 256 * 1024,
      cancelOnDisconnect: false,
      digest: expect.stringMatching(/^[0-9a-f]{16}$/) as string,
    });
  });

  it('takes what the manifest says', () => {
    const manifest = {
      handler: 'a.b',
      isolation: 'shared',
      concurrency: 3,
      maxSandboxes: 2,
      timeout: 0.25,
      memoryBytes: 512 * MIB,
      cpus: 2,
      env: { A: 'b' },
      network: 'none',
      prewarm: 1,
    } as const;
    const { timeout, ...same } = manifest;
    expect(effective(manifest)).toMatchObject({ ...same, timeoutMs: timeout * 1000 });
  });

  it.each<[Partial<Manifest>, string, string]>([
    [{ timeout: 900.1 }, 'timeout', '900s'],
    [{ memoryBytes: 1024 * MIB + 1 }, 'memory', `${1024 * MIB} bytes`],
    [{ cpus: 4.5 }, 'cpus', '4'],
  ])('refuses %j, which is more than the node allows', (manifest, key, most) => {
    expect(() => effective(manifest)).toThrow(
      expect.objectContaining({
        code: 'invalid_function',
        message: expect.stringMatching(new RegExp(`config.json: ${key}: .*\\(${most}\\)`)) as string,
        details: { file: 'config.json', key },
      }) as Error,
    );
  });

  it('takes the bounds themselves', () => {
    expect(effective({ timeout: 900, memoryBytes: 1024 * MIB, cpus: 4 })).toMatchObject({
      timeoutMs: 900_000,
      memoryBytes: 1024 * MIB,
      cpus: 4,
    });
  });

  it('keeps the defaults within the bounds too', () => {
    expect(effective({}, { maxFunctionTimeout: 10, maxFunctionMemory: 64 * MIB, maxFunctionCpus: 0.5 })).toMatchObject({
      timeoutMs: 10_000,
      memoryBytes: 64 * MIB,
      cpus: 0.5,
    });
  });

  it.each<[Network, Network | undefined, Network]>([
    ['outbound', undefined, 'outbound'],
    ['outbound', 'outbound', 'outbound'],
    ['outbound', 'public', 'public'],
    ['outbound', 'none', 'none'],
    ['public', undefined, 'public'],
    ['public', 'outbound', 'public'],
    ['public', 'none', 'none'],
    ['none', 'outbound', 'none'],
    ['none', 'public', 'none'],
  ])('with network %s of the node and %s of the manifest gives %s', (ofNode, asked, result) => {
    expect(effective({ network: asked }, { functionNetwork: ofNode }).network).toBe(result);
  });

  it.each<[Manifest['isolation'], NodeDefaults['isolation'], boolean, string]>([
    [undefined, null, false, 'container'],
    [undefined, null, true, 'process'],
    [undefined, 'shared', true, 'shared'],
    [undefined, 'container', true, 'container'],
    ['container', 'shared', true, 'container'],
    ['shared', null, false, 'shared'],
  ])(
    'with isolation %s of the manifest, ISOLATION %s and USING_REST_MODE %s runs as %s',
    (asked, own, rest, result) => {
      expect(effective({ isolation: asked }, { isolation: own, usingRestMode: rest }).isolation).toBe(result);
    },
  );

  it.each([
    [256, 64],
    [128, 32],
    [64, 16],
    [1024, 64],
  ])('gives %d MiB of memory %d MiB of /tmp: a quarter at most', (memory, tmp) => {
    expect(effective({ memoryBytes: memory * MIB }).tmpBytes).toBe(tmp * MIB);
  });

  it('has the same digest for the same settings, whoever says them, and another one for any other', () => {
    const standard = effective().digest;
    expect(effective({ timeout: 300, memoryBytes: 256 * MIB, isolation: 'container' }).digest).toBe(standard);
    const others = [
      effective({ handler: 'a.b' }),
      effective({ isolation: 'shared' }),
      effective({ isolation: 'shared', concurrency: 2 }),
      effective({ maxSandboxes: 1 }),
      effective({ timeout: 1 }),
      effective({ memoryBytes: 128 * MIB }),
      effective({ cpus: 2 }),
      effective({ env: { A: '1' } }),
      effective({ env: { A: '2' } }),
      effective({ network: 'none' }),
      effective({ prewarm: 1 }),
      effective({}, { functionPids: 64 }),
      effective({}, { tmpLimit: MIB }),
      effective({}, { responseLimit: 1 }),
      effective({}, { logLimit: 1 }),
    ].map(({ digest }) => digest);
    expect(new Set([standard, ...others]).size).toBe(others.length + 1);
  });
});

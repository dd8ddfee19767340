import { describe, expect, it } from 'vitest';
import { toInfo } from './engine.ts';
import { fromStatus } from './errors.ts';
import { toEvent } from './events.ts';
import { imagePath, labelFilter, segment } from './http.ts';
import { withTag } from './image-name.ts';
import { toBuildQuery } from './images.ts';

describe('parts of requests', () => {
  it('splits names of images at their tag', () => {
    expect(withTag('hf_w1')).toEqual({ repository: 'hf_w1', tag: 'latest' });
    expect(withTag('hf_w1:3f2a')).toEqual({ repository: 'hf_w1', tag: '3f2a' });
    expect(withTag('localhost:5000/a/b')).toEqual({ repository: 'localhost:5000/a/b', tag: 'latest' });
    expect(withTag('localhost:5000/a/b:1')).toEqual({ repository: 'localhost:5000/a/b', tag: '1' });
    expect(withTag('a@sha256:00')).toEqual({ repository: 'a@sha256:00', tag: undefined });
  });

  it('keeps foreign text within its place', () => {
    expect(segment('../images/x?force=1')).toBe('..%2Fimages%2Fx%3Fforce%3D1');
    expect(imagePath('localhost:5000/a b:1')).toBe('localhost%3A5000/a%20b%3A1');
    expect(JSON.parse(labelFilter({ a: '1', b: 'x=y' }, { dangling: ['true'] }))).toEqual({
      dangling: ['true'],
      label: ['a=1', 'b=x=y'],
    });
  });

  it('asks for a build with limits and without left-overs', () => {
    expect(toBuildQuery({ tag: 't:1' })).toMatchObject({ t: 't:1', rm: '1', forcerm: '1', nocache: undefined });
    expect(
      toBuildQuery({
        tag: 't:1',
        labels: { a: 'b' },
        buildArgs: { X: '1' },
        dockerfile: 'D',
        network: 'none',
        memoryBytes: 1e9,
        cpus: 1.5,
        noCache: true,
      }),
    ).toEqual({
      t: 't:1',
      labels: '{"a":"b"}',
      buildargs: '{"X":"1"}',
      dockerfile: 'D',
      networkmode: 'none',
      memory: '1000000000',
      memswap: '1000000000',
      cpuperiod: '100000',
      cpuquota: '150000',
      nocache: '1',
      rm: '1',
      forcerm: '1',
    });
    expect(toBuildQuery({ tag: 't', cpus: 0.001 })['cpuquota']).toBe('1000');
  });
});

describe('parts of answers', () => {
  it('takes events of containers apart', () => {
    const entry = {
      status: 'die',
      id: 'abc',
      from: 'base',
      Type: 'container',
      Action: 'die',
      Actor: { ID: 'abc', Attributes: { exitCode: '137', image: 'base', name: 'x', 'io.worker-front.node': 'n' } },
    };
    expect(toEvent(entry)).toEqual({
      kind: 'die',
      containerId: 'abc',
      labels: { 'io.worker-front.node': 'n' },
      exitCode: 137,
    });
    expect(toEvent({ ...entry, Action: 'oom', Actor: { ID: 'abc' } })).toEqual({
      kind: 'oom',
      containerId: 'abc',
      labels: {},
      exitCode: undefined,
    });
  });

  it.each([
    ['another type', { Type: 'network', Action: 'destroy', Actor: { ID: 'x' } }],
    ['another action', { Type: 'container', Action: 'exec_create: sh', Actor: { ID: 'x' } }],
    ['no container', { Type: 'container', Action: 'die' }],
    ['nothing', {}],
  ])('leaves out %s', (_, entry) => {
    expect(toEvent(entry)).toBeUndefined();
  });

  it('describes the engine', () => {
    const body = {
      ServerVersion: '20.10.24',
      Architecture: 'aarch64',
      NCPU: 4,
      MemTotal: 1e10,
      Runtimes: { runc: {}, runsc: {} },
      DefaultRuntime: 'runc',
      SecurityOptions: ['name=seccomp,profile=default', 'name=rootless'],
    };
    expect(toInfo(body, '1.41')).toEqual({
      version: '20.10.24',
      apiVersion: '1.41',
      architecture: 'arm64',
      cpus: 4,
      memoryBytes: 1e10,
      cgroupVersion: '1',
      runtimes: ['runc', 'runsc'],
      defaultRuntime: 'runc',
      rootless: true,
      usernsRemap: false,
      seccomp: 'default',
      osType: 'linux',
      missingLimits: [],
    });
    // A kernel that was started without the memory controller, as Raspberry Pi OS does.
    const less = { MemoryLimit: false, SwapLimit: false, CpuCfsQuota: true, PidsLimit: true, OSType: 'linux' };
    expect(toInfo({ ...body, ...less }, '1.41').missingLimits).toEqual(['memory', 'swap']);
    expect(toInfo({ ...body, CgroupVersion: '2', Runtimes: null, SecurityOptions: null }, '1.44')).toMatchObject({
      cgroupVersion: '2',
      runtimes: [],
      rootless: false,
      seccomp: undefined,
    });
  });

  it.each([
    [409, 'busy', 'conflict'],
    [400, 'no space left on device', 'internal_error'],
    [500, 'write /x: no space left on device', 'storage_full'],
    [500, 'anything else', 'internal_error'],
    [500, 'failed to create task: transport is closing: unavailable', 'engine_unavailable'],
    [500, 'dial unix /run/containerd/containerd.sock: connect: connection refused', 'engine_unavailable'],
    [500, 'ttrpc: closed: unknown', 'engine_unavailable'],
    [500, 'failed to update store for object type *libnetwork.endpoint: open : no such file', 'engine_unavailable'],
    [502, 'bad gateway', 'engine_unavailable'],
    [503, 'no engine behind', 'engine_unavailable'],
  ])('gives status %i (%s) the code %s', (status, words, code) => {
    const error = fromStatus(status, words, 'POST /x');
    expect(error.code).toBe(code);
    expect(error.message).toContain(words);
    expect(error.retryAfter).toBe(code === 'engine_unavailable' ? 5 : undefined);
  });
});

import { describe, expect, it } from 'vitest';
import { hasCode } from '../../lib/errors.ts';
import type { ContainerSpec } from '../spec.ts';
import { toCreateOptions, toLimits } from './to-create-options.ts';

const spec: ContainerSpec = {
  name: 'hf_w1__00001_00002',
  image: 'hf_w1:3f2a',
  user: '10001:10001',
  workingDir: '/function/code',
  entrypoint: ['/opt/worker-front/init', 'python3'],
  command: ['--flag'],
  env: { A: '1', EMPTY: '', EQUALS: 'x=y', UNICODE: 'é\n' },
  labels: { 'io.worker-front.node': 'n1' },
  mounts: [
    { hostPath: '/run/wf/s1', containerPath: '/run/worker-front', readOnly: true },
    { hostPath: '/data/code', containerPath: '/function/code', readOnly: true },
  ],
  limits: { memoryBytes: 268_435_456, cpus: 0.5, pids: 128 },
  tmpBytes: 67_108_864,
  network: 'wf-net',
};

describe('toCreateOptions', () => {
  it('passes on what the spec says', () => {
    const body = toCreateOptions({ ...spec, runtime: 'runsc', hostname: 'sandbox' });
    expect(body).toMatchObject({
      Image: 'hf_w1:3f2a',
      User: '10001:10001',
      WorkingDir: '/function/code',
      Entrypoint: ['/opt/worker-front/init', 'python3'],
      Cmd: ['--flag'],
      Hostname: 'sandbox',
      Env: ['A=1', 'EMPTY=', 'EQUALS=x=y', 'UNICODE=é\n'],
      Labels: { 'io.worker-front.node': 'n1' },
      HostConfig: { Runtime: 'runsc', NetworkMode: 'wf-net' },
    });
    expect(body.HostConfig.Mounts).toEqual([
      { Type: 'bind', Source: '/run/wf/s1', Target: '/run/worker-front', ReadOnly: true },
      { Type: 'bind', Source: '/data/code', Target: '/function/code', ReadOnly: true },
    ]);
  });

  it('hands a seccomp profile on, and never takes the word that stands for none', () => {
    const security = toCreateOptions({ ...spec, seccomp: '{"defaultAction":"SCMP_ACT_ERRNO"}' }).HostConfig.SecurityOpt;
    expect(security).toEqual(['no-new-privileges:true', 'seccomp={"defaultAction":"SCMP_ACT_ERRNO"}']);
    expect(() => toCreateOptions({ ...spec, seccomp: 'unconfined' })).toThrow(/seccomp/);
  });

  it("joins another container's network, whose host name and name servers hold then", () => {
    const own = { ...spec, hostname: 'sandbox', dns: ['10.0.0.1'] };
    expect(toCreateOptions(own)).toMatchObject({ Hostname: 'sandbox', HostConfig: { Dns: ['10.0.0.1'] } });
    const { HostConfig: host, ...body } = toCreateOptions({ ...own, joins: 'ab'.repeat(32) });
    expect(host.NetworkMode).toBe(`container:${'ab'.repeat(32)}`);
    expect(body).not.toHaveProperty('Hostname');
    expect(host).not.toHaveProperty('Dns');
  });

  it("leaves out what the image's or the engine's own value is wanted for", () => {
    const { workingDir, entrypoint, command, ...bare } = spec;
    const body = toCreateOptions(bare);
    for (const key of ['WorkingDir', 'Entrypoint', 'Cmd', 'Hostname']) expect(body).not.toHaveProperty(key);
    expect(body.HostConfig).not.toHaveProperty('Runtime');
    expect([workingDir, entrypoint, command]).not.toContain(undefined);
  });

  it('fixes everything that keeps a function from the machine', () => {
    const { HostConfig: host, ...body } = toCreateOptions(spec);
    expect(host).toMatchObject({
      ReadonlyRootfs: true,
      Privileged: false,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges:true'],
      IpcMode: 'private',
      ShmSize: 16 * 1024 * 1024,
      Tmpfs: { '/tmp': 'rw,exec,nosuid,nodev,mode=1777,size=67108864' },
      OomKillDisable: false,
      Init: false,
      AutoRemove: false,
      RestartPolicy: { Name: 'no' },
      LogConfig: { Type: 'json-file', Config: { 'max-size': '64k', 'max-file': '1' } },
      Ulimits: [
        { Name: 'core', Soft: 0, Hard: 0 },
        { Name: 'nofile', Soft: 4096, Hard: 4096 },
      ],
    });
    expect(host.OomScoreAdj).toBeGreaterThan(0);
    // Nothing that would add to it.
    for (const key of ['CapAdd', 'Binds', 'Devices', 'PortBindings', 'PidMode', 'UsernsMode', 'VolumesFrom', 'Links']) {
      expect(host).not.toHaveProperty(key);
    }
    expect(body).not.toHaveProperty('ExposedPorts');
    expect(body.Healthcheck).toEqual({ Test: ['NONE'] });
  });

  it('limits memory without swap, CPU and processes', () => {
    expect(toCreateOptions(spec).HostConfig).toMatchObject({
      Memory: 268_435_456,
      MemorySwap: 268_435_456,
      NanoCpus: 500_000_000,
      PidsLimit: 128,
    });
    expect(toLimits({ memoryBytes: 1e8, cpus: 0.29, pids: 1 })).toEqual({
      Memory: 1e8,
      MemorySwap: 1e8,
      // 0.29 * 1e9 is 290000000.00000006 or less; the engine takes whole numbers only.
      NanoCpus: 290_000_000,
      PidsLimit: 1,
    });
  });

  it.each<[string, Partial<ContainerSpec>]>([
    ['root', { user: '0:0' }],
    ["root's group", { user: '1000:0' }],
    ['a user without a group', { user: '1000' }],
    ['a user by name', { user: 'nobody:nogroup' }],
    ['no user', { user: '' }],
    ["the host's network", { network: 'host' }],
    ["another container's network", { network: 'container:abc' }],
    ['no network name', { network: '' }],
    ['the network of a container by name', { joins: 'somebody' }],
    ["the host's network by another way", { joins: 'host' }],
    ['the network of no container', { joins: '' }],
    ['the network of a short id', { joins: 'ab12' }],
    ['a network behind an id', { joins: `${'a'.repeat(64)}\n` }],
    ["the host's network beside one that is joined", { network: 'host', joins: 'a'.repeat(64) }],
    ['an unlimited /tmp', { tmpBytes: 0 }],
    ['a fractional /tmp', { tmpBytes: 4096.5 }],
    ['unlimited memory', { limits: { ...spec.limits, memoryBytes: 0 } }],
    ['memory that is no number', { limits: { ...spec.limits, memoryBytes: Number.NaN } }],
    ['unlimited CPU', { limits: { ...spec.limits, cpus: 0 } }],
    ['endless CPU', { limits: { ...spec.limits, cpus: Number.POSITIVE_INFINITY } }],
    ['unlimited processes', { limits: { ...spec.limits, pids: -1 } }],
    ["the engine's socket", { mounts: [{ hostPath: '/run/docker.sock', containerPath: '/s', readOnly: true }] }],
    ["the machine's root", { mounts: [{ hostPath: '/', containerPath: '/host', readOnly: true }] }],
    ['a relative mount', { mounts: [{ hostPath: 'code', containerPath: '/code', readOnly: true }] }],
    ['a variable without a name', { env: { '': 'x' } }],
    ['a variable with = in its name', { env: { 'A=B': 'x' } }],
    ['a variable with a zero byte', { env: { A: 'x\0y' } }],
  ])('refuses %s', (_, unsafe) => {
    let error: unknown;
    try {
      toCreateOptions({ ...spec, ...unsafe });
    } catch (thrown) {
      error = thrown;
    }
    expect(hasCode(error, 'internal_error')).toBe(true);
  });
});

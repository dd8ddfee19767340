import { text } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';
import tar from 'tar-stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasCode } from '../../src/lib/errors.ts';
import {
  DOCKERFILES,
  type EngineHarness,
  failureOf,
  followEvents,
  makeContext,
  makeSpec,
} from '../conformance/engine-fixtures.ts';
import { dockerHarness } from './engine-harness.ts';

/** What only a real kernel and a real engine can show. */
let harness: EngineHarness;
let count = 0;
const unique = () => `wf-docker-${process.pid}-${Date.now().toString(36)}-${(count += 1)}`;

beforeAll(async () => {
  harness = await dockerHarness();
});
afterAll(async () => {
  await harness?.close();
});

/** Runs a shell script in a sandbox to its end. */
async function sh(script: string, more: Parameters<typeof makeSpec>[2] = {}) {
  const { engine } = harness;
  const id = await engine.createContainer(makeSpec(harness, unique(), { command: ['sh', '-c', script], ...more }));
  const { exit } = await engine.watchExit(id);
  await engine.startContainer(id);
  const { exitCode } = await exit;
  const output = await engine.containerLogs(id, 64_000);
  return { id, exitCode, output: output.trim() };
}

/** Resolves once the container has written a line. Nothing tells of output, so it has to be asked for. */
async function printed(id: string, line: string): Promise<void> {
  while (!(await harness.engine.containerLogs(id, 10_000)).includes(line)) await setTimeout(20);
}

describe('a sandbox on Docker', () => {
  it('is walled in as its options say', async () => {
    const script = `
      id -u; id -g
      grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'
      touch /x 2>&1; touch /etc/x 2>&1
      grep ' /tmp ' /proc/mounts
      printf '#!/bin/sh\\necho ran from /tmp\\n' > /tmp/run && chmod +x /tmp/run && /tmp/run
      ulimit -c; ulimit -n
      ls /sys/class/net
      cat /proc/self/oom_score_adj
      ls /var/run/docker.sock 2>&1
      echo "$GREETING"`;
    const { output, exitCode } = await sh(script);
    expect(exitCode).toBe(0);
    const lines = output.split('\n');
    expect(lines.slice(0, 2)).toEqual(['1000', '1000']);
    expect(lines).toContain('CapEff:0000000000000000');
    expect(lines).toContain('CapBnd:0000000000000000');
    expect(lines).toContain('NoNewPrivs:1');
    expect(lines).toContain('Seccomp:2');
    expect(output.match(/Read-only file system/g)).toHaveLength(2);
    expect(output).toMatch(/tmpfs \/tmp tmpfs rw,nosuid,nodev,[^\n]*size=8192k/);
    expect(lines).toContain('ran from /tmp');
    expect(lines.slice(-6)).toEqual(['0', '4096', 'lo', '100', expect.stringContaining('No such file'), 'hello']);
  });

  it('cannot fill more than its /tmp, nor start more processes than it may', async () => {
    const full = await sh('head -c 20000000 /dev/zero > /tmp/x; echo code $?; du -k /tmp/x');
    expect(full.output).toMatch(/No space left on device\ncode 1\n8192\s/);
    const limits = { memoryBytes: 64 * 1024 * 1024, cpus: 1, pids: 16 };
    // Fewer processes are not enough for the runtime's own threads each time.
    const forks = await sh('for i in $(seq 20); do sleep 5 & done; echo never', { limits });
    expect(forks.exitCode).not.toBe(0);
    expect(forks.output).toMatch(/[Cc]annot fork/);
  });

  it('gets changed limits from the kernel at once', async () => {
    const { engine } = harness;
    // Prints them when it gets a signal.
    const files =
      'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes' +
      ' /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/pids/pids.max 2>/dev/null ||' +
      ' cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory.swap.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max';
    const id = await engine.createContainer(
      makeSpec(harness, unique(), {
        command: ['sh', '-c', `trap '${files}; exit 0' USR1; echo up; while :; do sleep 0.02; done`],
      }),
    );
    const { exit } = await engine.watchExit(id);
    await engine.startContainer(id);
    await engine.updateLimits(id, { memoryBytes: 256 * 1024 * 1024, cpus: 1.5, pids: 77 });
    await engine.updateLimits(id, { memoryBytes: 32 * 1024 * 1024, cpus: 0.5, pids: 33 });
    await printed(id, 'up');
    await engine.killContainer(id, 'SIGUSR1');
    expect(await exit).toEqual({ exitCode: 0 });
    const values = (await engine.containerLogs(id, 1000)).trim().split('\n').slice(1);
    const bytes = String(32 * 1024 * 1024);
    const { cgroupVersion } = await engine.info();
    expect(values).toEqual(cgroupVersion === '1' ? [bytes, bytes, '50000', '33'] : [bytes, '0', '50000 100000', '33']);
  });
});

describe('memory that runs out', () => {
  // `tail` keeps all of a line that does not end.
  const eat = 'head -c 200000000 /dev/zero | tail';
  const limits = { memoryBytes: 24 * 1024 * 1024, cpus: 1, pids: 32 };

  /**
   * Starts a container that runs the script when it is told to: the engine begins to watch a container's memory a moment after its
   * start, and tells nobody of what happened before (the kernel's counter knows).
   */
  async function startThenRun(script: string, labels: Record<string, string>): Promise<string> {
    const wait = 'trap \'go=1\' USR1; echo up; while [ -z "$go" ]; do sleep 0.02; done';
    const { engine } = harness;
    const spec = makeSpec(harness, unique(), { limits, labels, command: ['sh', '-c', `${wait}; ${script}`] });
    const id = await engine.createContainer(spec);
    await engine.startContainer(id);
    await printed(id, 'up');
    await engine.killContainer(id, 'SIGUSR1');
    return id;
  }

  it('in the main process ends the container, with flag and code', async () => {
    const { engine, labels } = harness;
    const own = { ...labels, oom: unique() };
    const events = await followEvents(engine, own);
    const id = await startThenRun('exec tail /dev/zero', own);
    expect(await events.next('die', id)).toMatchObject({ exitCode: 137 });
    expect(await engine.inspectContainer(id)).toMatchObject({ status: 'exited', exitCode: 137, oomKilled: true });
    events.subscription.close();
  });

  it('in a child is counted while the container lives on', async () => {
    const { engine, labels } = harness;
    const own = { ...labels, oom: unique() };
    const events = await followEvents(engine, own);
    // Again and again until the engine has said so: it does not hear of what comes too soon after the start.
    const again = `while [ -z "$stop" ]; do (${eat}) >/dev/null; done`;
    const id = await startThenRun(`trap 'stop=1' USR2; echo eating; ${again}; echo survived; sleep 600`, own);
    await events.next('oom', id);
    await printed(id, 'eating');
    await engine.killContainer(id, 'SIGUSR2');
    // The event comes when memory runs out; the victim dies and gives its memory back a moment later.
    await printed(id, 'survived');
    const usage = await engine.memoryUsage(id);
    expect(usage?.oomKills).toBeGreaterThanOrEqual(1);
    expect(usage?.peakBytes).toBeGreaterThan(limits.memoryBytes * 0.9);
    expect(usage?.peakBytes).toBeLessThanOrEqual(limits.memoryBytes);
    expect(await engine.inspectContainer(id)).toMatchObject({ status: 'running', oomKilled: false });
    await engine.resetMemoryPeak(id);
    const { cgroupVersion } = await engine.info();
    const after = (await engine.memoryUsage(id))?.peakBytes ?? 0;
    if (cgroupVersion === '1') expect(after).toBeLessThan(limits.memoryBytes * 0.9);
    // The flag comes up with whatever exit follows.
    await engine.killContainer(id);
    await events.next('die', id);
    expect(await engine.inspectContainer(id)).toMatchObject({ exitCode: 137, oomKilled: true });
    events.subscription.close();
  });
});

describe('a network without traffic between containers', () => {
  it('blocks siblings, which one with such traffic does not', async () => {
    const { engine, labels } = harness;
    for (const interContainer of [true, false]) {
      const bridgeName = `wft${Math.random().toString(36).slice(2, 10)}`;
      const network = unique();
      await engine.ensureNetwork({ name: network, bridgeName, interContainer, labels });
      const listen =
        'use Socket; socket(S,PF_INET,SOCK_STREAM,0); setsockopt(S,SOL_SOCKET,SO_REUSEADDR,1);' +
        'bind(S,sockaddr_in(7777,INADDR_ANY)) or die; listen(S,5); $|=1; print "listening\\n"; accept(C,S); print C "hello\\n"; close C; sleep 600';
      const server = await engine.createContainer(
        makeSpec(harness, unique(), { network, command: ['perl', '-e', listen] }),
      );
      await engine.startContainer(server);
      const address = await addressOf(server);
      // Tries until the sibling listens.
      const dial = `until exec 3<>/dev/tcp/${address}/7777; do sleep 0.05; done; cat <&3`;
      const client = await sh(`timeout 3 bash -c '${dial}' 2>/dev/null; echo code $?`, { network });
      expect(await engine.containerLogs(server, 100)).toBe('listening\n');
      expect(client.output.split('\n').at(-1)).toBe(interContainer ? 'code 0' : 'code 124');
      expect(client.output.includes('hello')).toBe(interContainer);
      for (const id of [server, client.id]) await engine.removeContainer(id);
      await engine.removeNetwork(network);
    }
  });

  /** From the hosts file that the engine writes for it. */
  async function addressOf(id: string): Promise<string> {
    const archive = await harness.engine.exportPath(id, '/etc/hosts');
    for await (const entry of archive.pipe(tar.extract())) {
      const address = /^(\d+\.\d+\.\d+\.\d+)\s+[0-9a-f]{12}$/m.exec(await text(entry))?.[1];
      if (address) return address;
    }
    throw new Error('no address in /etc/hosts');
  }
});

describe('a build on Docker', () => {
  it('that is aborted leaves no container', async () => {
    const { engine, image, labels } = harness;
    const own = { key: 'io.worker-front.test-build', value: unique() };
    const events = await followEvents(engine, { [own.key]: own.value });
    const controller = new AbortController();
    const building = engine.buildImage(
      makeContext({ Dockerfile: DOCKERFILES.endless(image, `${own.key}=${own.value}`) }),
      { tag: `${own.value}:1`, labels, signal: controller.signal },
    );
    const failed = failureOf(building);
    // The events of the build's container: it runs, the request ends, it dies and is gone.
    const { containerId } = await events.next('start');
    controller.abort(new Error('enough'));
    expect(String(await failed)).toContain('enough');
    await events.next('destroy', containerId);
    expect(await engine.listContainers({ [own.key]: own.value })).toEqual([]);
    events.subscription.close();
    await engine.pruneDanglingImages({ [own.key]: own.value });
    expect(await engine.listImages({ [own.key]: own.value })).toEqual([]);
  });

  it('is limited in memory', async () => {
    const { engine, image, labels } = harness;
    const Dockerfile = `FROM ${image}\nLABEL io.worker-front.test-suite=${labels['io.worker-front.test-suite']}\nRUN tail /dev/zero\n`;
    const options = { tag: `${unique()}:1`, labels, memoryBytes: 32 * 1024 * 1024, cpus: 1 };
    const error = await failureOf(engine.buildImage(makeContext({ Dockerfile }), options));
    expect(hasCode(error, 'build_failed')).toBe(true);
    expect(String(error)).toContain('137');
    await engine.pruneDanglingImages({ 'io.worker-front.test-suite': labels['io.worker-front.test-suite'] ?? '' });
  });

  it('tells of the volumes that its image would have', async () => {
    const { engine, image, labels } = harness;
    const tag = `${unique()}:1`;
    await engine.buildImage(makeContext({ Dockerfile: `FROM ${image}\nVOLUME /data /more\n` }), { tag, labels });
    expect((await engine.inspectImage(tag))?.volumes?.sort()).toEqual(['/data', '/more']);
  });
});

describe('a pull', () => {
  it('from a registry where nobody listens says that', async () => {
    const error = await failureOf(harness.engine.pullImage('localhost:1/worker-front/none:1'));
    expect(hasCode(error, 'engine_unavailable')).toBe(true);
    expect(String(error)).toContain('connection refused');
  });
});

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stop } from './stop.ts';

let dir: string;
const children: ChildProcess[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'worker-front-stop-'));
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  rmSync(dir, { recursive: true, force: true });
});

/** A process in a daemon's place. */
async function daemonThat(does: 'ends' | 'hangs'): Promise<ChildProcess> {
  const handler =
    does === 'ends'
      ? `for (const s of ['SIGTERM', 'SIGUSR2']) process.on(s, () => process.exit(s === 'SIGTERM' ? 0 : 42));`
      : `process.on('SIGTERM', () => console.log('heard'));`;
  const program = `${handler} setInterval(() => {}, 1e6); console.log('up');`;
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  await once(child.stdout, 'data');
  const facts = { pid: child.pid, startTicks: '', url: 'http://x', node: 'n', version: '1', shutdownTimeout: 30 };
  writeFileSync(join(dir, 'daemon.json'), JSON.stringify(facts));
  return child;
}

async function stopping(options: Partial<Parameters<typeof stop>[0]> = {}) {
  const printed: string[] = [];
  const failed = await stop({ dataDir: dir, print: (line) => void printed.push(line), ...options }).then(
    () => undefined,
    (error: Error) => error.message,
  );
  return { printed: printed.join('\n'), failed };
}

/** How the process ended. */
const endOf = async (child: ChildProcess) => {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.signalCode ?? child.exitCode;
};

describe('stop', () => {
  it('waits for the end of the daemon', async () => {
    const daemon = await daemonThat('ends');
    expect(await stopping()).toEqual({ printed: `worker-front (pid ${daemon.pid}) has stopped`, failed: undefined });
    expect(await endOf(daemon)).toBe(0);
  });

  it('--keep-sandboxes tells the daemon so', async () => {
    const daemon = await daemonThat('ends');
    expect((await stopping({ keepSandboxes: true })).printed).toMatch(/has stopped; its idle sandboxes wait for/);
    expect(await endOf(daemon)).toBe(42);
  });

  it('gives up on one that hangs, and says how to end it', async () => {
    const daemon = await daemonThat('hangs');
    const { failed } = await stopping({ timeoutSeconds: 0.2 });
    expect(failed).toMatch(
      new RegExp(`^worker-front \\(pid ${daemon.pid}\\) has not stopped within 0.2 s: .*'worker-front stop --force'`),
    );
    expect(daemon.signalCode).toBeNull();
  });

  it('says that one is suspended, and how it goes on', async () => {
    const daemon = await daemonThat('ends');
    daemon.kill('SIGSTOP');
    const { failed } = await stopping({ timeoutSeconds: 0.2 });
    expect(failed).toContain(`it is suspended (SIGSTOP): 'kill -CONT ${daemon.pid}' lets it go on`);
    daemon.kill('SIGCONT');
    expect(await endOf(daemon)).toBe(0);
  });

  it('--force kills at once, also one that is suspended', async () => {
    const daemon = await daemonThat('ends');
    daemon.kill('SIGSTOP');
    expect((await stopping({ force: true })).printed).toMatch(/was killed; the next start takes over/);
    expect(await endOf(daemon)).toBe('SIGKILL');
  });

  it('--force with a time limit asks first', async () => {
    const daemon = await daemonThat('ends');
    expect((await stopping({ force: true, timeoutSeconds: 30 })).printed).toMatch(/has stopped$/);
    expect(await endOf(daemon)).toBe(0);

    const hung = await daemonThat('hangs');
    const heard = once(hung.stdout!, 'data');
    expect((await stopping({ force: true, timeoutSeconds: 0.3 })).printed).toMatch(/was killed/);
    expect(String(await heard)).toBe('heard\n');
    expect(await endOf(hung)).toBe('SIGKILL');
  });
});

import { beforeEach, describe, expect, it } from 'vitest';
import { deferred } from '../lib/deferred.ts';
import type { Logger } from '../lib/logger.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { openings } from './openings.ts';
import type { Shell, ShellResult } from './shell.ts';
import { Walls } from './walls.ts';

const MARK = '@@worker-front@@';
/** What a machine with this table prints; the exit code of its iptables. It has none for IPv6. */
const view = (table: string, { code = 0, ipv6 = '' } = {}): ShellResult => ({
  exitCode: 0,
  output: [
    `${MARK} interfaces`,
    '  wfn1o: 0 0',
    `${MARK} ipv6`,
    ipv6,
    `${MARK} ipv4-table iptables ${code}`,
    table,
    `${MARK} ipv6-table iptables 3`,
    'ip6tables: no such table',
    '',
  ].join('\n'),
});

/** A machine that applies what it is told, as far as the tests need it. */
function machine(): { shell: Shell; scripts: string[]; rules: string } {
  const state = { scripts: [] as string[], rules: '', shell: undefined as unknown as Shell };
  state.shell = async (script) => {
    if (!script.includes('-restore')) return view(state.rules);
    state.scripts.push(script);
    const lines = script.split('\n');
    state.rules = [
      ...lines.filter((line) => line.startsWith(':')),
      ...lines.filter((line) => line.startsWith('-I')).map((line) => line.replace('-I', '-A').replace(' 1 ', ' ')),
      ...lines.filter((line) => line.startsWith('-A')),
    ].join('\n');
    return { exitCode: 0, output: '' };
  };
  return state;
}

let told: Record<string, unknown>[];
let clock: ManualClock;
const tell = (fields: object, message: string) => void told.push({ message, ...fields });
const logger = { info: tell, warn: tell } as unknown as Logger;

beforeEach(() => {
  told = [];
  clock = new ManualClock();
});

const wallsBy = (...shells: Shell[]) =>
  new Walls({
    node: 'n1',
    allow: [],
    dns: [],
    clock,
    logger,
    ways: shells.map((shell, index) => ({ name: `way ${index + 1}`, shell, cheap: index === 0 })),
  });

const refused: Shell = async () => view('iptables-save v1.8.9: Permission denied (you must be root)', { code: 4 });

describe('the way to the rules', () => {
  it('is the first that works', async () => {
    const own = machine();
    const walls = wallsBy(refused, own.shell);
    await walls.check('wfn1o');
    expect(walls.state).toEqual({ ipv4: 'up' });
    expect(told).toEqual([{ message: 'network walls are up', way: 'way 2', tool: 'iptables' }]);
    // A container every minute would be too much.
    expect(clock.pending).toBe(0);
    await walls.close();
    expect(own.scripts.at(-1)).toContain('-X WF-n1-FORWARD');
  });

  it('may be missing: the state says that they are open, the log why, once', async () => {
    const walls = wallsBy(refused, () => Promise.reject(new Error('no such image')));
    await walls.check('wfn1o');
    await walls.check('wfn1o');
    expect(walls.state).toEqual({ ipv4: 'open', off: false });
    expect(told).toEqual([
      {
        message: 'there are no network walls',
        reasons: [expect.stringMatching(/way 1: .*you must be root/), 'way 2: no such image'],
      },
    ]);
    await walls.close();
  });

  it('is not where the bridge is not to be seen', async () => {
    const own = machine();
    const walls = wallsBy(own.shell);
    await walls.check('wfn2o');
    expect(walls.state.ipv4).toBe('open');
    expect(own.scripts).toEqual([]);
  });

  it('is not taken at all when the operator wants no walls', async () => {
    const walls = wallsBy();
    await walls.check('wfn1o');
    expect(walls.state).toEqual({ ipv4: 'open', off: true });
    expect(told).toEqual([]);
    await walls.close();
  });
});

it('tries again when a change fails because somebody else changed the table', async () => {
  const own = machine();
  let failures = 2;
  const walls = wallsBy(async (script, signal) => {
    if (!script.includes('-restore') || failures === 0) return own.shell(script, signal);
    failures -= 1;
    return { exitCode: 1, output: 'iptables-restore: line 7 failed' };
  });
  await walls.check('wfn1o');
  expect(walls.state).toEqual({ ipv4: 'up' });
  expect(failures).toBe(0);
});

it('does not say up when rules do not stay', async () => {
  const walls = wallsBy(async (script) => (script.includes('-restore') ? { exitCode: 0, output: '' } : view('')));
  await walls.check('wfn1o');
  expect(walls.state.ipv4).toBe('open');
  expect(told).toEqual([{ message: 'there are no network walls', reasons: ['way 1: the rules did not stay'] }]);
});

it('is up without rules for IPv6, and says so where there is IPv6', async () => {
  const own = machine();
  const shell: Shell = async (script, signal) => {
    const result = await own.shell(script, signal);
    return script.includes('-restore') ? result : view(own.rules, { ipv6: 'fe80 eth0' });
  };
  const walls = wallsBy(shell);
  await walls.check('wfn1o');
  expect(walls.state).toEqual({ ipv4: 'up', ipv6Reason: 'ip6tables: no such table' });
  expect(openings(walls.state, { functions: true, builds: true })).toEqual([expect.stringContaining('IPv6')]);
});

it('stays as it is when it is left, and is not looked at any more', async () => {
  const own = machine();
  const walls = wallsBy(own.shell);
  await walls.check('wfn1o');
  const done = own.scripts.length;
  expect(clock.pending).toBe(1);
  walls.leave();
  expect([own.scripts.length, clock.pending]).toEqual([done, 0]);
});

it('takes rules away at its end also when they stood no more, or were never seen to', async () => {
  const own = machine();
  let looks = 0;
  const walls = wallsBy((script, signal) => {
    if (!script.includes('-restore') && (looks += 1) === 2) return Promise.reject(new Error('xtables is locked'));
    return own.shell(script, signal);
  });
  await walls.check('wfn1o');
  expect(walls.state.ipv4).toBe('open');
  expect(own.rules).toContain('WF-n1-FORWARD');
  await walls.close();
  expect(own.scripts.at(-1)).toContain('-X WF-n1-FORWARD');
});

it('does not break off a change at its end: what is under way would come after the removal', async () => {
  const own = machine();
  const applied = deferred<void>();
  const applying = deferred<AbortSignal>();
  const walls = wallsBy(async (script, signal) => {
    if (script.includes('-restore') && own.scripts.length === 0) {
      applying.resolve(signal);
      await applied.promise;
    }
    return own.shell(script, signal);
  });
  const checked = walls.check('wfn1o');
  const signal = await applying.promise;
  const closed = walls.close();
  expect(signal.aborted).toBe(false);
  applied.resolve();
  await checked;
  await closed;
  expect(own.scripts).toHaveLength(2);
  expect(own.scripts[1]).toContain('-X WF-n1-FORWARD');
});

it('does nothing after its end', async () => {
  const own = machine();
  const walls = wallsBy(own.shell);
  await walls.close();
  await walls.check('wfn1o');
  expect(own.scripts).toEqual([]);
});

describe('what is open', () => {
  const open = { ipv4: 'open', off: false } as const;

  it('is said with who, what, and what to do', () => {
    expect(openings(open, { functions: true, builds: true })).toEqual([
      expect.stringMatching(/^functions and image builds reach .*metadata.* root with iptables.*FUNCTION_NETWORK=none/),
    ]);
    expect(openings(open, { functions: false, builds: true })).toEqual([expect.stringMatching(/^image builds reach/)]);
    expect(openings(open, { functions: false, builds: false })).toEqual([]);
    expect(openings({ ipv4: 'open', off: true }, { functions: true, builds: true })).toEqual([
      expect.stringContaining('NETWORK_WALLS=off'),
    ]);
  });

  it('is nothing behind walls, or while they are put up', () => {
    expect(openings({ ipv4: 'up' }, { functions: true, builds: true })).toEqual([]);
    expect(openings({ ipv4: 'unknown' }, { functions: true, builds: true })).toEqual([]);
  });
});

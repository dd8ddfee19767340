import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Logger } from '../../src/lib/logger.ts';
import { ManualClock } from '../../src/lib/manual-clock.ts';
import { removeWalls, Walls, type WallsOptions } from '../../src/network/walls.ts';
import { type NetworkNamespace, networkNamespace } from '../support/netns.ts';

// The kernel's own iptables, in a network namespace of the test's own.

const DOCKER = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER-USER - [0:0]
-A INPUT -s 198.51.100.9/32 -j DROP
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -j ACCEPT
-A DOCKER-USER -s 198.51.100.8/32 -j DROP
-A DOCKER-USER -j RETURN
COMMIT
`;

let machine: NetworkNamespace;
let clock: ManualClock;
let told: string[];

const logger = {
  info: (_: object, text: string) => void told.push(text),
  warn: (_: object, text: string) => void told.push(text),
} as unknown as Logger;

beforeEach(async () => {
  machine = await networkNamespace();
  clock = new ManualClock();
  told = [];
  await machine.run(`ip link set lo up; iptables-restore <<'END'\n${DOCKER}END`);
});

afterEach(async () => {
  await machine[Symbol.asyncDispose]();
});

function wallsOf(node: string, options: Partial<WallsOptions> = {}): Walls {
  const ways = [{ name: 'test', shell: machine.shell, cheap: true }];
  return new Walls({ node, allow: [], dns: [], clock, logger, ways, ...options });
}

/** All rules but policies, counters and comments. */
async function rules(): Promise<string> {
  const all = await machine.run('iptables-save -t filter; ip6tables-save -t filter');
  return all
    .split('\n')
    .filter((line) => /^-A|^:[A-Z-]+ - /.test(line))
    .map((line) => line.replace(/ \[\d+:\d+\]/, ''))
    .join('\n');
}

const jumps = async (parent: string) => machine.run(`iptables -S ${parent}`);

describe('network walls', () => {
  it('are put up before all other rules, and taken away without a trace', async () => {
    const before = await rules();
    const walls = wallsOf('n1', { allow: [{ address: '10.0.0.5', port: 5432 }], dns: ['10.0.0.53'] });
    await walls.check('lo');
    expect(walls.state).toEqual({ ipv4: 'up' });
    expect((await jumps('INPUT')).split('\n')[1]).toBe('-A INPUT -j WF-n1-INPUT');
    expect((await jumps('DOCKER-USER')).split('\n')[1]).toBe('-A DOCKER-USER -j WF-n1-FORWARD');
    const standing = await rules();
    expect(standing.split('\n').filter((line) => !line.includes('WF-n1-'))).toEqual(before.split('\n'));
    expect(standing).toContain('-A FORWARD -j WF-n1-FORWARD');
    await walls.check('lo');
    expect(await rules()).toBe(standing);
    expect(told).toEqual(['network walls are up']);
    await walls.close();
    expect(await rules()).toBe(before);
    await walls.close();
  });

  it.each([
    ['somebody throws all rules away', 'iptables -F; iptables -X', true],
    ['the jump is gone', 'iptables -D INPUT -j WF-n1-INPUT', true],
    ['a rule is gone', 'iptables -D WF-n1-OUTBOUND 2', true],
    ['a rule is changed', 'iptables -R WF-n1-REFUSE 1 -j ACCEPT', true],
    ['somebody lets all in before', 'iptables -I INPUT 1 -j ACCEPT', false],
    ['IPv6 is thrown away', 'ip6tables -F; ip6tables -X', true],
    ["the engine's chain is gone", 'iptables -D FORWARD -j DOCKER-USER', false],
  ])('are made again when %s', async (_, damage, isTold) => {
    const walls = wallsOf('n1');
    await walls.check('lo');
    await machine.run(damage);
    await walls.check('lo');
    expect(walls.state).toEqual({ ipv4: 'up' });
    expect((await jumps('INPUT')).split('\n')[1]).toBe('-A INPUT -j WF-n1-INPUT');
    const own = (await rules()).split('\n').filter((line) => line.startsWith('-A WF-n1-'));
    await walls.close();
    expect(await rules()).not.toContain('WF-');
    const fresh = wallsOf('n1');
    await fresh.check('lo');
    expect((await rules()).split('\n').filter((line) => line.startsWith('-A WF-n1-'))).toEqual(own);
    expect(told.includes('network walls were changed by somebody else: made again')).toBe(isTold);
  });

  it('look after themselves every minute', async () => {
    const walls = wallsOf('n1');
    await walls.check('lo');
    await machine.run('iptables -F INPUT');
    await clock.advance(60_000);
    await expect.poll(() => told.at(-1), { timeout: 20_000 }).toContain('made again');
    await expect.poll(() => jumps('INPUT')).toContain('-A INPUT -j WF-n1-INPUT');
    await walls.close();
    expect(clock.pending).toBe(0);
  });

  it('are found again after a crash, with the settings of now', async () => {
    const before = await rules();
    await wallsOf('n1', { allow: [{ address: '10.0.0.5', port: 1 }] }).check('lo');
    const next = wallsOf('n1', { allow: [{ address: '10.0.0.6', port: 1 }] });
    await next.check('lo');
    const now = await rules();
    expect(now).toContain('10.0.0.6');
    expect(now).not.toContain('10.0.0.5');
    expect(now.match(/-j WF-n1-INPUT/g)).toHaveLength(2);
    await next.close();
    expect(await rules()).toBe(before);
  });

  it('of several nodes stand beside each other, whatever their names, put up at the same time', async () => {
    const before = await rules();
    const nodes = ['a', 'ab', 'abo', 'abcdefghij12'].map((node) => wallsOf(node));
    await Promise.all(nodes.map((walls) => walls.check('lo')));
    await Promise.all(nodes.map((walls) => walls.check('lo')));
    expect(nodes.map(({ state }) => state.ipv4)).toEqual(['up', 'up', 'up', 'up']);
    const all = await rules();
    await nodes[0]?.close();
    expect(await rules()).toBe(
      all
        .split('\n')
        .filter((line) => !/WF-a-/.test(line))
        .join('\n'),
    );
    await Promise.all(nodes.map((walls) => walls.close()));
    expect(await rules()).toBe(before);
    expect(told.filter((text) => text.includes('made again'))).toEqual([]);
  });

  it('stand in the variant of iptables that the engine uses, and in FORWARD where it uses none', async () => {
    await machine.run('iptables -F; iptables -X; iptables -P INPUT ACCEPT');
    const walls = wallsOf('n1');
    await walls.check('lo');
    expect((await jumps('FORWARD')).split('\n')[1]).toBe('-A FORWARD -j WF-n1-FORWARD');
    await walls.close();
    expect(await rules()).toBe('');
  });

  it('can be taken away for a node that has ended', async () => {
    const before = await rules();
    await wallsOf('n1').check('lo');
    await removeWalls('n1', machine.shell);
    expect(await rules()).toBe(before);
    await removeWalls('n1', machine.shell);
  });

  it('are open where the bridges are not', async () => {
    const before = await rules();
    const walls = wallsOf('n1');
    await walls.check('wfn1o');
    expect(walls.state).toEqual({ ipv4: 'open', off: false });
    expect(await rules()).toBe(before);
  });
});

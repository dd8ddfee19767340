import { beforeEach, expect, it } from 'vitest';
import { inUse } from '../containers/engine-errors.ts';
import { createFakeEngine } from '../containers/fake/engine.ts';
import type { FakeEngine } from '../containers/fake/types.ts';
import { type Logger, silentLogger } from '../lib/logger.ts';
import { Networks } from './networks.ts';

let engine: FakeEngine;
let events: string[];
let walls: { check(bridge: string): Promise<void>; leave(): void; close(): Promise<void> };

beforeEach(() => {
  engine = createFakeEngine();
  events = [];
  walls = {
    async check(bridge) {
      events.push(`check ${bridge}`);
    },
    leave: () => void events.push('leave'),
    async close() {
      events.push('close');
    },
  };
});

const made = (logger: Logger = silentLogger) =>
  new Networks({ node: 'n1', nodeLabels: { node: 'n1' }, extraLabels: { run: 'r' }, logger }, { engine, walls });

it('makes a network per kind when it is first needed, and looks at the walls once', async () => {
  const networks = made();
  const names = await Promise.all(
    (['outbound', 'outbound', 'public', 'build'] as const).map((kind) => networks.nameOf(kind)),
  );
  expect(names).toEqual([
    'worker-front-n1-outbound',
    'worker-front-n1-outbound',
    'worker-front-n1-public',
    'worker-front-n1-build',
  ]);
  expect(engine.calls.filter((call) => call === 'ensureNetwork')).toHaveLength(3);
  expect(events).toEqual(['check wfn1o']);
  expect(await engine.listNetworks({ node: 'n1', run: 'r' })).toHaveLength(3);
});

it('gives a network away only when it is known how the walls stand', async () => {
  let stand = () => {};
  walls.check = () => new Promise((resolve) => (stand = resolve));
  const networks = made();
  let given = false;
  const name = networks.nameOf('outbound').then(() => (given = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect(given).toBe(false);
  stand();
  await name;
  expect(given).toBe(true);
});

it('leaves networks and walls to the next daemon', async () => {
  const networks = made();
  await networks.nameOf('outbound');
  networks.leave();
  expect(events).toEqual(['check wfn1o', 'leave']);
  expect(await engine.listNetworks({ node: 'n1' })).toHaveLength(1);
});

it('tries again after a failure', async () => {
  const networks = made();
  engine.fail('ensureNetwork', new Error('no address left'));
  await expect(networks.nameOf('public')).rejects.toThrow('no address left');
  expect(await networks.nameOf('public')).toBe('worker-front-n1-public');
});

it('makes networks again and looks at the walls when the engine is back', async () => {
  const networks = made();
  await networks.nameOf('outbound');
  await engine.removeNetwork('worker-front-n1-outbound');
  await networks.lookAgain();
  expect(await engine.listNetworks({ node: 'n1' })).toEqual(['worker-front-n1-outbound']);
  expect(events).toEqual(['check wfn1o', 'check wfn1o']);
});

it('stays calm when the engine has gone again', async () => {
  const networks = made();
  await networks.nameOf('outbound');
  engine.goAway();
  await networks.lookAgain();
  engine.comeBack();
  expect(await networks.nameOf('outbound')).toBe('worker-front-n1-outbound');
});

it('removes its networks, then the walls; those of others stay', async () => {
  await engine.ensureNetwork({ name: 'other', bridgeName: 'other', interContainer: true, labels: { node: 'n2' } });
  const networks = made();
  await networks.nameOf('outbound');
  await networks.nameOf('build');
  await networks.close();
  expect(await engine.listNetworks({})).toEqual(['other']);
  expect(events.at(-1)).toBe('close');
});

it('removes the walls also when a network does not go', async () => {
  const networks = made();
  await networks.nameOf('outbound');
  engine.fail('removeNetwork', new Error('in use'));
  await expect(networks.close()).rejects.toThrow('in use');
  expect(events.at(-1)).toBe('close');
});

it('goes on without a network that the engine says is in use, and says so', async () => {
  const warned: object[] = [];
  const networks = made({ ...silentLogger, warn: (fields) => void warned.push(fields) });
  await networks.nameOf('outbound');
  await networks.nameOf('build');
  engine.fail('removeNetwork', inUse('The network'));
  await networks.close();
  const left = await engine.listNetworks({});
  expect(left).toHaveLength(1);
  expect(warned).toEqual([{ network: left[0] }]);
  expect(events.at(-1)).toBe('close');
});

it('waits at its end for what is being made, and makes nothing afterwards', async () => {
  const networks = made();
  const making = networks.nameOf('outbound');
  const closed = networks.close();
  await making;
  await closed;
  expect(await engine.listNetworks({ node: 'n1' })).toEqual([]);
  await expect(networks.nameOf('public')).rejects.toMatchObject({ code: 'shutting_down' });
  await networks.lookAgain();
  expect(await engine.listNetworks({ node: 'n1' })).toEqual([]);
});

it('makes nothing for the next daemon after it has left', async () => {
  const networks = made();
  networks.leave();
  await expect(networks.nameOf('public')).rejects.toMatchObject({ code: 'shutting_down' });
});
